// Goal: a coordinator answers chain lookups of 512 keys over TCP at 3 million keys a second or
// more. Method: a whole coordinator in this process (its own threads, metastore, gRPC) is told a
// million chunk locations by two nodes' inventories; a client thread then looks up chains, in every
// round first one call at a time for the latency, then a fixed number in flight for the rate. The
// median of the rounds' rates counts. The client decodes every answer and compares every key's.
#include <grpcpp/grpcpp.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "coordinator/service/coordinator.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "proto/wire/inventory.h"
#include "proto/wire/lookup.h"
#include "tests/bench/report.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"

namespace kdn::bench {
namespace {

constexpr double kKeysPerSecondBar = 3e6;
constexpr std::size_t kChainKeys = 512;
constexpr std::size_t kEntriesPerBatch = 8192;
constexpr TenantId kTenant{7};
constexpr int kNodes = 2;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "lookup_bench: %s\n", what.c_str());
  std::exit(2);
}

class Bench {
 public:
  Bench(std::size_t locations, double seconds) : seconds_(seconds) {
    std::ofstream(folder_.File("tenants.toml"))
        << "[[tenant]]\nname = \"bench\"\nid = 7\nallow_none = true\n";
    coordinator::CoordinatorConfig config;
    config.data_dir = folder_.File("data");
    config.listen = config.grpc_listen = "127.0.0.1:0";
    config.status_listen = "";
    config.tenants_file = folder_.File("tenants.toml");
    config.dead_after_ms = 600000;  // the nodes of this bench do not beat
    config.forget_after_ms = 600000;
    auto started = coordinator::Coordinator::Start(config, clock_, random_, log_);
    if (!started) Die(started.error().ToString());
    coordinator_ = std::move(*started);
    keys_.resize(locations / kChainKeys * kChainKeys);
    for (ChunkKey& key : keys_) seeded_.Fill(key.bytes);
    Fill();
    Connect();
  }

  // Asks for random chains with `depth` calls in flight; keys a second. `latencies_us` gets one
  // number per call.
  double Run(std::size_t depth, std::vector<double>& latencies_us) {
    in_flight_.assign(depth, {});
    const TimePoint began = clock_.Now();
    const TimePoint end =
        began + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds_));
    std::size_t answered = 0;
    for (std::size_t slot = 0; slot < depth; ++slot) Ask(slot);
    while (clock_.Now() < end) {
      transport::Event events[16];
      const std::size_t count = channel_->Poll(events);
      for (std::size_t i = 0; i < count; ++i) {
        ++answered;
        Check(events[i]);
        const std::chrono::duration<double, std::micro> took =
            clock_.Now() - in_flight_[events[i].tag].asked;
        latencies_us.push_back(took.count());
        Ask(events[i].tag);
      }
      if (count == 0) WaitForAnswer();
    }
    const std::chrono::duration<double> took = clock_.Now() - began;
    for (std::size_t left = depth; left > 0;) {
      transport::Event events[16];
      left -= channel_->Poll(events);
    }
    return static_cast<double>(answered * kChainKeys) / took.count();
  }

 private:
  struct Asked {
    std::size_t chain = 0;
    TimePoint asked;
  };

  void Fill() {
    const auto rpc =
        grpc::CreateChannel(coordinator_->grpc_endpoint(), grpc::InsecureChannelCredentials());
    const auto stub = v1::Membership::NewStub(rpc);
    for (int node = 1; node <= kNodes; ++node) {
      v1::RegisterRequest request;
      const auto uuid = RandomId<PeerId>(seeded_);
      request.set_node_uuid(std::string(AsText(uuid.bytes)));
      request.set_host_id(std::string(AsText(uuid.bytes)));
      request.add_shard_endpoints("127.0.0.1:1");
      request.set_dram_bytes(1 << 30);
      v1::RegisterResponse response;
      grpc::ClientContext context;
      const auto status = stub->Register(&context, request, &response);
      if (!status.ok()) Die(status.error_message());
      Report(*stub, response.node_id());
    }
  }

  void Report(v1::Membership::Stub& stub, std::uint32_t node) {
    std::uint64_t sequence = 0;
    for (std::size_t from = 0; from < keys_.size(); from += kEntriesPerBatch) {
      const std::size_t end = std::min(keys_.size(), from + kEntriesPerBatch);
      std::vector<std::byte> bytes;
      ByteWriter out(bytes);
      for (std::size_t i = from; i < end; ++i) EntryOf(i).Encode(out);
      v1::InventoryRequest request;
      request.set_node_id(node);
      request.set_full(true);
      request.set_first(from == 0);
      request.set_last(end == keys_.size());
      request.set_sequence(++sequence);
      request.set_entries(std::string(AsText(bytes)));
      v1::InventoryResponse response;
      grpc::ClientContext context;
      const auto status = stub.Inventory(&context, request, &response);
      if (!status.ok()) Die(status.error_message());
    }
  }

  [[nodiscard]] wire::InventoryEntry EntryOf(std::size_t index) const {
    wire::InventoryEntry entry;
    entry.tenant = kTenant;
    entry.key = keys_[index];
    entry.chain_root = keys_[index - index % kChainKeys];
    if (index % kChainKeys != 0) entry.parent = keys_[index - 1];
    std::copy_n(entry.key.bytes.begin(), entry.put_id.bytes.size(), entry.put_id.bytes.begin());
    entry.token_count = 256;
    entry.provenance = kExactProvenance;
    entry.level_bytes[static_cast<std::size_t>(Level::kExact)] = 1 << 20;
    entry.in_dram = entry.on_disk = Level::kExact;
    return entry;
  }

  void Connect() {
    transport::Options options;
    options.connections = 1;
    auto domain = transport::OpenDomain(options, clock_, random_, log_);
    if (!domain) Die(domain.error().ToString());
    domain_ = std::move(*domain);
    transport::Identity identity;
    identity.cluster = coordinator_->cluster();
    identity.tenant = kTenant;
    auto channel = domain_->Connect(coordinator_->endpoint(), identity,
                                    clock_.Now() + std::chrono::seconds(5));
    if (!channel) Die(channel.error().ToString());
    channel_ = std::move(*channel);
  }

  void Ask(std::size_t slot) {
    const std::size_t chain = seeded_.Next() % (keys_.size() / kChainKeys);
    wire::LookupRequest request;
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(chain * kChainKeys);
    request.chains.emplace_back(first, first + kChainKeys);
    request.known_map_version = map_version_;
    request_.clear();
    request.Encode(request_);
    in_flight_[slot] = {chain, clock_.Now()};
    transport::Call call;
    call.tag = slot;
    call.request = request_;
    call.deadline = clock_.Now() + std::chrono::seconds(10);
    const Status status = channel_->Submit(call);
    if (!status.ok()) Die(status.ToString());
  }

  void Check(const transport::Event& event) {
    if (event.code != Code::kOk) Die("a lookup failed");
    const auto response = wire::LookupResponse::Decode(event.response);
    if (!response || response->chunks.size() != kChainKeys) Die("an answer does not decode");
    map_version_ = response->map.version;
    const std::size_t first = in_flight_[event.tag].chain * kChainKeys;
    for (std::size_t i = 0; i < kChainKeys; ++i) {
      const wire::ChunkLocation& chunk = response->chunks[i];
      if (std::memcmp(chunk.put_id.bytes.data(), keys_[first + i].bytes.data(),
                      chunk.put_id.bytes.size()) != 0 ||
          chunk.parts.size() != 1 || chunk.parts[0].replicas.size() != kNodes) {
        Die("an answer is wrong");
      }
    }
  }

  void WaitForAnswer() {
    pollfd waited{channel_->WaitFd(), POLLIN, 0};
    (void)::poll(&waited, 1, 100);
  }

  const double seconds_;
  test::TempDir folder_;
  SteadyClock clock_;
  SystemRandom random_;
  SeededRandom seeded_{1};
  NullLog log_;
  std::vector<ChunkKey> keys_;
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<transport::Channel> channel_;
  std::vector<Asked> in_flight_;  // by tag
  std::uint64_t map_version_ = 0;
  wire::Buffer request_;
};

double Percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  CLI::App app("Chain lookups of 512 keys over TCP against a coordinator with a million chunks.");
  std::string json_path;
  std::size_t locations = 1 << 20;
  std::size_t depth = 4;
  int rounds = 5;
  double seconds = 1.0;
  app.add_option("--json", json_path, "where to write the result");
  app.add_option("--locations", locations, "chunks in the directory");
  app.add_option("--depth", depth, "calls in flight")->check(CLI::Range(2, 64));
  app.add_option("--rounds", rounds, "of measurements; their median counts")
      ->check(CLI::Range(1, 100));
  app.add_option("--seconds", seconds, "of each measurement");
  CLI11_PARSE(app, argc, argv);
  kdn::bench::Bench bench(locations, seconds);
  std::vector<double> rates;
  for (int round = 0; round < rounds; ++round) {
    for (const std::size_t in_flight : {std::size_t{1}, depth}) {
      std::vector<double> took_us;
      const double rate = bench.Run(in_flight, took_us);
      std::printf("%zu in flight: %.2f M keys/s, p50 %.0f us, p99 %.0f us\n", in_flight, rate / 1e6,
                  kdn::bench::Percentile(took_us, 0.5), kdn::bench::Percentile(took_us, 0.99));
      if (in_flight == depth) rates.push_back(rate);
    }
  }
  const double median = kdn::bench::Percentile(rates, 0.5);
  return kdn::bench::Report({.name = "lookup_bench",
                             .group = "path",
                             .ours = median,
                             .theirs = kdn::bench::kKeysPerSecondBar,
                             .unit = "keys/s",
                             .ratio = median / kdn::bench::kKeysPerSecondBar,
                             .bar = 1.0,
                             .command = kdn::bench::CommandLine(argc, argv)},
                            json_path);
}
