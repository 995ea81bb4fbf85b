#include "tests/fault/rig.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "client/core/lookup_result.h"

namespace kdn::fault {
namespace {

struct SizeTraits {
  std::uint32_t chunks;
  std::uint16_t layers;
  std::uint16_t kv_heads;
  std::uint16_t head_size;
  std::uint16_t layers_per_group;
  std::uint16_t heads_per_group;
  std::uint32_t staging_mib;
  std::uint32_t dram_mib;
};

constexpr std::uint32_t kShortChunks = 4;

// By DocumentSize.
constexpr SizeTraits kSizes[] = {
    {kShortChunks, 4, 4, 32, 2, 2, 64, 64},
    {16, 4, 8, 64, 1, 8, 2, 256},
    {32, 16, 8, 128, 16, 8, 256, 512},
};

const SizeTraits& TraitsOf(DocumentSize size) {
  return kSizes[static_cast<std::size_t>(size)];
}

// Right values that are kept: those of a case's own few documents.
constexpr std::size_t kRightKeptMax = 8;

Milliseconds Since(TimePoint begun) {
  return std::chrono::steady_clock::now() - begun;
}

}  // namespace

std::string MillisecondsText(Milliseconds ms) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f ms", ms.count());
  return text;
}

std::string Latest::ToString() const {
  if (past <= Milliseconds(0)) return "latest end 0 ms past a deadline";
  return "latest end " + MillisecondsText(past) + " past a deadline, of " + call;
}

Rig::Rig(RigOptions options) : options_(std::move(options)) {
  options_.timeout *= kSlowdown;
  const SizeTraits& traits = TraitsOf(options_.size);
  shape_.layers = traits.layers;
  shape_.kv_heads = traits.kv_heads;
  shape_.head_size = traits.head_size;
}

Result<std::unique_ptr<Rig>> Rig::Make(const RigOptions& options) {
  std::unique_ptr<Rig> rig(new Rig(options));
  admin::LocalClusterOptions cluster;
  cluster.folder = options.folder;
  cluster.program_folder = options.program_folder;
  cluster.nodes = options.nodes;
  cluster.dram_mib = TraitsOf(options.size).dram_mib;
  cluster.sync = options.sync;
  cluster.node_settings = options.node_settings;
  cluster.replicas = options.replicas;
  cluster.places = options.places;
  // A node that came back takes its full share at once.
  cluster.coordinator_settings = {"coordinator.ramp_ms=0"};
  auto started = admin::LocalCluster::Start(cluster);
  if (!started) return std::unexpected(started.error());
  rig->cluster_ = std::make_unique<admin::LocalCluster>(*std::move(started));
  if (Status status = rig->Reconnect(); !status.ok()) return std::unexpected(status);
  return rig;
}

Result<std::unique_ptr<Rig>> Rig::Attach(const RigOptions& options) {
  std::unique_ptr<Rig> rig(new Rig(options));
  rig->owns_cluster_ = false;
  auto running = admin::LocalCluster::Attach(options.folder);
  if (!running) return std::unexpected(running.error());
  rig->cluster_ = std::make_unique<admin::LocalCluster>(*std::move(running));
  if (Status status = rig->Reconnect(); !status.ok()) return std::unexpected(status);
  return rig;
}

Rig::~Rig() {
  client_.reset();
  if (cluster_ && owns_cluster_) [[maybe_unused]]
    const Status status = cluster_->Stop(std::chrono::seconds(10));
}

client::ClientOptions Rig::client_options() const {
  const auto settings = cluster_->settings();
  auto options = admin::ClientOptionsOf(*settings);
  options->chunk_tokens = kChunkTokens;
  options->staging_bytes = std::size_t{TraitsOf(options_.size).staging_mib} << 20;
  options->timeout = options_.timeout;
  return *options;
}

Result<std::unique_ptr<client::Client>> Rig::OpenClient(
    const client::ClientOptions& options) const {
  return client::OpenClient(options);
}

Status Rig::Reconnect() {
  client_.reset();
  auto client = OpenClient(client_options());
  if (!client) return client.error();
  client_ = *std::move(client);
  client::ModelOptions options;
  options.layers_per_group = TraitsOf(options_.size).layers_per_group;
  options.heads_per_group = TraitsOf(options_.size).heads_per_group;
  auto model = client_->UseModel(test::SpecOf(shape_), options);
  if (!model) return model.error();
  model_ = *model;
  return {};
}

std::uint32_t Rig::TokensIn(std::uint64_t seed) const {
  return kChunkTokens * (seed < kFirstShort ? TraitsOf(options_.size).chunks : kShortChunks);
}

std::vector<client::TokenId> Rig::DocumentOf(std::uint64_t seed) const {
  return test::TokensOf(seed, TokensIn(seed));
}

// Memory for one document and nothing more.
test::EngineShape Rig::ShapeOf(std::uint64_t seed) const {
  test::EngineShape shape = shape_;
  shape.block_count = TokensIn(seed) / shape.block_tokens;
  return shape;
}

bool Rig::IsRight(std::uint64_t seed, const test::TestEngine& engine, std::uint64_t tokens) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<test::TestEngine> fresh;
  const test::TestEngine* right = nullptr;
  if (const auto kept = right_.find(seed); kept != right_.end()) {
    right = kept->second.get();
  } else {
    fresh = std::make_unique<test::TestEngine>(ShapeOf(seed));
    fresh->Fill(seed);
    right = fresh.get();
    if (seed < kFirstShort && right_.size() < kRightKeptMax) right_[seed] = std::move(fresh);
  }
  return engine.SameAs(*right, tokens);
}

PutOutcome Rig::Put(std::uint64_t seed) {
  test::TestEngine engine(ShapeOf(seed));
  engine.Fill(seed);
  client::StorePlanOptions options;
  options.context = ContextName(seed);
  options.provenance = kExactProvenance;
  const auto tokens = DocumentOf(seed);
  PutOutcome outcome;
  TimePoint begun = std::chrono::steady_clock::now();
  auto plan = client_->PlanStore(*model_, tokens, options);
  outcome.latest.Note("PlanStore()", Since(begun), timeout());
  if (!plan) {
    outcome.report.code = plan.error().code();
    return outcome;
  }
  begun = std::chrono::steady_clock::now();
  auto store = client_->Store(*model_, *plan, {}, engine.kv(), engine.blocks());
  if (!store) {
    outcome.report.code = store.error().code();
    return outcome;
  }
  // A store is given no deadline: each silent node may hold it up once, for the timeout, and once
  // the staging memory that another store of this client holds meanwhile; then the coordinator, as
  // it commits and as it names the context.
  const Milliseconds read_max = timeout() * (options_.nodes + 1);
  [[maybe_unused]] const Status read = (*store)->WaitRead();
  outcome.latest.Note("a store's WaitRead()", Since(begun), read_max);
  outcome.report = (*store)->Wait();
  outcome.latest.Note("a store's Wait()", Since(begun), read_max + 2 * timeout());
  return outcome;
}

client::LookupResult Rig::Lookup(std::uint64_t seed) {
  return client_->Lookup(*model_, DocumentOf(seed), {})->Take();
}

std::size_t Rig::ReplicasOf(std::uint64_t seed) {
  const client::LookupResult found = Lookup(seed);
  if (found.tokens_matched() != TokensIn(seed)) return 0;
  std::size_t least = limits::kReplicasMax;
  for (const client::MatchedChunk& chunk : found.state().chunks) {
    for (const auto& part : chunk.where.parts) least = std::min(least, part.replicas.size());
  }
  return least;
}

GetOutcome Rig::Load(std::uint64_t seed, const client::LookupResult& found,
                     client::LoadOrder order) {
  test::TestEngine engine(ShapeOf(seed));
  engine.Poison();
  GetOutcome outcome;
  client::LoadOptions options;
  options.order = order;
  const TimePoint begun = std::chrono::steady_clock::now();
  auto load = client_->Load(*model_, found, engine.kv(), engine.blocks(), options);
  if (!load) {
    outcome.report.code = load.error().code();
    return outcome;
  }
  outcome.report = (*load)->Wait();
  outcome.took = Since(begun);
  outcome.latest.Note("a load", outcome.took, timeout());
  outcome.tokens = outcome.report.tokens_loaded;
  outcome.whole = outcome.tokens == TokensIn(seed);
  outcome.wrong = !IsRight(seed, engine, outcome.tokens);
  return outcome;
}

GetOutcome Rig::Get(std::uint64_t seed, client::LoadOrder order) {
  const TimePoint begun = std::chrono::steady_clock::now();
  const client::LookupResult found = Lookup(seed);
  const Milliseconds lookup = Since(begun);
  GetOutcome outcome = Load(seed, found, order);
  outcome.took += lookup;
  outcome.latest.Note("a lookup", lookup, timeout());
  return outcome;
}

}  // namespace kdn::fault
