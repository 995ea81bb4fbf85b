// Goal: between processes of one host gets through shared memory run at 1.5 times what they do
// through TCP, or more: 1 MiB objects of a node's DRAM tier, every tile's checksum verified.
// Method: a real node process holds objects of 1 MiB that cannot be compressed; one client thread
// reads them with some calls in flight and verifies header, entries and tiles of each, over a
// channel that shares its memory and over one that does not, in turns.
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "client/admin/file_model.h"
#include "client/admin/local_cluster.h"
#include "client/core/lookup_result.h"
#include "proto/wire/read.h"
#include "tests/bench/report.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"
#include "transport/host.h"
#include "transport/shm/shared_memory.h"

namespace kdn::bench {
namespace {

constexpr double kBar = 1.5;
constexpr std::size_t kObjects = 128;
constexpr std::size_t kContentBytes = kObjects << 20;

struct Settings {
  int rounds = 7;
  double seconds = 1.0;
  std::uint32_t depth = 8;
  std::uint32_t connections = 0;
  std::string json;
};

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "shared_memory_bench: %s\n", what.c_str());
  std::exit(2);
}

std::size_t WholePages(std::size_t size_bytes) {
  return (size_bytes + transport::shm::kPageBytes - 1) / transport::shm::kPageBytes *
         transport::shm::kPageBytes;
}

// A node with objects in it.
class Objects {
 public:
  Objects() {
    admin::LocalClusterOptions options;
    options.folder = folder_.File("cluster");
    options.nodes = 1;
    options.replicas = 1;
    options.dram_mib = 512;
    options.write_mode = "dram_only";
    auto cluster = admin::LocalCluster::Start(options);
    if (!cluster) Die(cluster.error().ToString());
    cluster_ = std::make_unique<admin::LocalCluster>(*std::move(cluster));
    auto client_options = admin::ClientOptionsOf(*cluster_->settings());
    client_options->chunk_tokens = admin::kFileChunkTokens;
    client_options->timeout = std::chrono::seconds(20);
    identity_.tenant = client_options->tenant;
    identity_.scheme = transport::HelloScheme::kHmac;
    identity_.secret = client_options->access_secret;
    Store(*client_options);
  }
  ~Objects() { [[maybe_unused]] const Status status = cluster_->Stop(std::chrono::seconds(10)); }
  [[nodiscard]] const client::LookupResult::State& state() const { return found_.state(); }
  [[nodiscard]] const transport::Identity& identity() const { return identity_; }

 private:
  void Store(const client::ClientOptions& options) {
    std::string content(kContentBytes - sizeof(std::uint64_t), '\0');
    SeededRandom random(1);
    random.Fill(std::as_writable_bytes(std::span(content)));
    admin::FileMemory memory = admin::FileMemory::Of(content);
    auto client = client::OpenClient(options);
    if (!client) Die(client.error().ToString());
    const auto model = (*client)->UseModel(admin::FileModelSpec(), {});
    client::StorePlanOptions plan_options;
    plan_options.context = "objects";
    plan_options.provenance = kExactProvenance;
    plan_options.extras = memory.Identity();
    const auto plan = (*client)->PlanStore(**model, memory.Tokens(), plan_options);
    if (!plan) Die(plan.error().ToString());
    auto store = (*client)->Store(**model, *plan, {}, memory.kv(), memory.blocks());
    if (!store || (*store)->Wait().chunks_stored != kObjects) Die("the objects were not stored");
    found_ = (*client)->LookupContext(**model, "objects", {})->Take();
    if (found_.chunks_matched() != kObjects) Die("the objects were not found");
  }

  const test::TempDir folder_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  client::LookupResult found_;
  transport::Identity identity_;
};

// Reads them over a channel of its own.
class Reader {
 public:
  Reader(const Objects& objects, const Settings& settings, bool shares)
      : objects_(objects), settings_(settings) {
    transport::Options options;
    options.connections = settings.connections;
    options.shared_memory.enabled = shares;
    auto domain = transport::OpenDomain(options, clock_, random_, log_);
    if (!domain) Die(domain.error().ToString());
    domain_ = *std::move(domain);
    for (const client::MatchedChunk& chunk : objects_.state().chunks) {
      const auto& part = chunk.where.parts[0];
      window_bytes_ = std::max<std::size_t>(
          window_bytes_, WholePages(wire::ReadWindowBytes(part.level_bytes, Level::kExact)));
    }
    // Both sides read into memory of the same kind.
    auto memory = transport::shm::SharedMemory::Make(window_bytes_ * settings_.depth);
    if (!memory) Die(memory.error().ToString());
    memory_ = std::make_unique<transport::shm::SharedMemory>(*std::move(memory));
    if (!domain_->Register(memory_->region()).ok()) Die("cannot register memory");
    transport::Identity identity = objects_.identity();
    if (shares) identity.host = transport::ThisHost(random_);
    auto channel = domain_->Connect(objects_.state().nodes[0].shards[0], identity,
                                    clock_.Now() + std::chrono::seconds(5));
    if (!channel) Die(channel.error().ToString());
    channel_ = *std::move(channel);
    reading_.resize(settings_.depth);
  }
  ~Reader() {
    channel_.reset();
    [[maybe_unused]] const Status status = domain_->Unregister(memory_->bytes().data());
  }

  // Bytes per second of objects, for about `seconds`.
  double Measure() {
    const auto begun = std::chrono::steady_clock::now();
    const auto end = begun + std::chrono::duration<double>(settings_.seconds);
    std::size_t bytes = 0;
    std::uint32_t in_flight = 0;
    for (std::uint32_t slot = 0; slot < settings_.depth; ++slot, ++in_flight) Submit(slot);
    std::array<transport::Event, 64> events;
    while (in_flight > 0) {
      const std::size_t count = channel_->Poll(events);
      for (std::size_t i = 0; i < count; ++i) {
        if (events[i].kind != transport::EventKind::kDone) continue;
        if (events[i].code != Code::kOk)
          Die("a read failed: " + std::string(CodeName(events[i].code)));
        const auto slot = static_cast<std::uint32_t>(events[i].tag);
        bytes += Verify(slot, events[i].response);
        --in_flight;
        if (std::chrono::steady_clock::now() < end) {
          Submit(slot);
          ++in_flight;
        }
      }
      if (count == 0) {
        pollfd wait{channel_->WaitFd(), POLLIN, 0};
        poll(&wait, 1, 1000);
      }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    return static_cast<double>(bytes) / took.count();
  }

 private:
  MutableBytes WindowOf(std::uint32_t slot) {
    return memory_->bytes().subspan(slot * window_bytes_, window_bytes_);
  }

  void Submit(std::uint32_t slot) {
    reading_[slot] = next_++ % kObjects;
    const client::MatchedChunk& chunk = objects_.state().chunks[reading_[slot]];
    wire::ReadItem item;
    item.key = chunk.key;
    item.put_id = chunk.where.put_id;
    item.levels = Level::kExact;
    item.layers = {0, 1};
    item.kv_heads = {0, 1};
    item.window_bytes = window_bytes_;
    wire::ReadRequest request;
    request.items.push_back(item);
    request_.clear();
    request.Encode(request_);
    transport::Call call;
    call.tag = slot;
    call.request = request_;
    call.receive_bulk = WindowOf(slot);
    call.deadline = clock_.Now() + std::chrono::seconds(10);
    if (!channel_->Submit(call).ok()) Die("cannot submit a read");
  }

  // The object's bytes, if every one of them is right.
  std::size_t Verify(std::uint32_t slot, ConstBytes response) {
    const auto answer = wire::ReadResponse::Decode(response);
    if (!answer || answer->items[0].code != Code::kOk) Die("a read missed");
    const MutableBytes window = WindowOf(slot);
    const auto header = DecodeHeader(window.first(kObjectHeaderBytes));
    if (!header || header->key != objects_.state().chunks[reading_[slot]].key) {
      Die("a read brought another object");
    }
    const ObjectTag tag = TagOf(*header);
    const std::uint32_t count = answer->items[0].entry_count;
    ByteReader reader(window.subspan(kObjectHeaderBytes, count * kTileEntryBytes));
    std::size_t offset = kObjectHeaderBytes + count * kTileEntryBytes;
    std::size_t bytes = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const TileEntry entry = DecodeTileEntry(reader);
      if (!reader.ok() || !VerifyTile(tag, entry, window.subspan(offset, entry.size_bytes))) {
        Die("a tile does not verify");
      }
      offset += entry.size_bytes;
      bytes += entry.size_bytes;
    }
    return bytes;
  }

  const Objects& objects_;
  const Settings settings_;
  const SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  std::size_t window_bytes_ = 0;
  std::unique_ptr<transport::shm::SharedMemory> memory_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<transport::Channel> channel_;
  std::vector<std::size_t> reading_;
  wire::Buffer request_;
  std::size_t next_ = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Run(const Settings& settings, const std::string& command) {
  const Objects objects;
  Reader sharing(objects, settings, true);
  Reader apart(objects, settings, false);
  sharing.Measure();  // warms connections and memory
  apart.Measure();
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int round = 0; round < settings.rounds; ++round) {
    theirs.push_back(apart.Measure());
    ours.push_back(sharing.Measure());
    std::printf("round %d: through shared memory %.2f GB/s, through TCP %.2f GB/s\n", round + 1,
                ours.back() / 1e9, theirs.back() / 1e9);
    std::fflush(stdout);
  }
  Comparison comparison;
  comparison.name = "shared_memory_bench";
  comparison.group = "path";
  comparison.ours = Median(ours) / 1e9;
  comparison.theirs = Median(theirs) / 1e9;
  comparison.unit = "GB/s";
  comparison.ratio = comparison.ours / comparison.theirs;
  comparison.bar = kBar;
  comparison.command = command;
  return Report(comparison, settings.json);
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  CLI::App app("Gets of 1 MiB objects through shared memory against TCP.", "shared_memory_bench");
  app.add_option("--rounds", settings.rounds, "pairs of measurements")->capture_default_str();
  app.add_option("--seconds", settings.seconds, "length of one of them")->capture_default_str();
  app.add_option("--depth", settings.depth, "reads in flight")->capture_default_str();
  app.add_option("--connections", settings.connections, "of each channel; 0: min(cores, 4)");
  app.add_option("--json", settings.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  return kdn::bench::Run(settings, kdn::bench::CommandLine(argc, argv));
}
