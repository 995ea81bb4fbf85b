#include "tests/fault/rig.h"

#include <algorithm>
#include <utility>

#include "client/core/lookup_result.h"

namespace kdn::fault {
namespace {

std::vector<client::TokenId> DocumentOf(std::uint64_t seed) {
  return test::TokensOf(seed, Rig::kTokens);
}

}  // namespace

Result<std::unique_ptr<Rig>> Rig::Make(const RigOptions& options) {
  std::unique_ptr<Rig> rig(new Rig(options));
  admin::LocalClusterOptions cluster;
  cluster.folder = rig->folder_.File("cluster");
  cluster.program_folder = options.program_folder;
  cluster.nodes = options.nodes;
  cluster.dram_mib = 64;
  cluster.node_settings = options.node_settings;
  // A node that came back takes its full share at once.
  cluster.coordinator_settings = {"coordinator.ramp_ms=0"};
  auto started = admin::LocalCluster::Start(cluster);
  if (!started) return std::unexpected(started.error());
  rig->cluster_ = std::make_unique<admin::LocalCluster>(*std::move(started));
  if (Status status = rig->Reconnect(); !status.ok()) return std::unexpected(status);
  return rig;
}

Rig::~Rig() {
  client_.reset();
  if (cluster_) [[maybe_unused]]
    const Status status = cluster_->Stop(std::chrono::seconds(10));
}

client::ClientOptions Rig::client_options() const {
  const auto settings = cluster_->settings();
  auto options = admin::ClientOptionsOf(*settings);
  options->chunk_tokens = kChunkTokens;
  options->staging_bytes = std::size_t{64} << 20;
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
  options.layers_per_group = 2;
  options.heads_per_group = 2;
  auto model = client_->UseModel(test::SpecOf(shape_), options);
  if (!model) return model.error();
  model_ = *model;
  return {};
}

client::StoreReport Rig::Put(std::uint64_t seed) {
  test::TestEngine engine(shape_);
  engine.Fill(seed);
  client::StorePlanOptions options;
  options.context = ContextName(seed);
  options.provenance = kExactProvenance;
  auto plan = client_->PlanStore(*model_, DocumentOf(seed), options);
  if (!plan) return {.code = plan.error().code()};
  auto store = client_->Store(*model_, *plan, {}, engine.kv(), engine.blocks());
  if (!store) return {.code = store.error().code()};
  return (*store)->Wait();
}

client::LookupResult Rig::Lookup(std::uint64_t seed) {
  return client_->Lookup(*model_, DocumentOf(seed), {})->Take();
}

std::size_t Rig::ReplicasOf(std::uint64_t seed) {
  const client::LookupResult found = Lookup(seed);
  if (found.tokens_matched() != kTokens) return 0;
  std::size_t least = limits::kReplicasMax;
  for (const client::MatchedChunk& chunk : found.state().chunks) {
    for (const auto& part : chunk.where.parts) least = std::min(least, part.replicas.size());
  }
  return least;
}

GetOutcome Rig::Load(std::uint64_t seed, const client::LookupResult& found) {
  const auto begun = std::chrono::steady_clock::now();
  test::TestEngine engine(shape_);
  engine.Poison();
  GetOutcome outcome;
  auto load = client_->Load(*model_, found, engine.kv(), engine.blocks(), {});
  if (!load) {
    outcome.report.code = load.error().code();
    return outcome;
  }
  outcome.report = (*load)->Wait();
  outcome.took = std::chrono::steady_clock::now() - begun;
  outcome.tokens = outcome.report.tokens_loaded;
  outcome.whole = outcome.tokens == kTokens;
  test::TestEngine right(shape_);
  right.Fill(seed);
  outcome.wrong = !engine.SameAs(right, outcome.tokens);
  return outcome;
}

GetOutcome Rig::Get(std::uint64_t seed) {
  const auto begun = std::chrono::steady_clock::now();
  const client::LookupResult found = Lookup(seed);
  const Milliseconds lookup = std::chrono::steady_clock::now() - begun;
  GetOutcome outcome = Load(seed, found);
  outcome.took += lookup;
  return outcome;
}

}  // namespace kdn::fault
