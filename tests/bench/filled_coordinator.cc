#include "tests/bench/filled_coordinator.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "coordinator/service/coordinator.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "proto/wire/inventory.h"
#include "proto/wire/lookup.h"
#include "proto/wire/node_ops.h"
#include "proto/wire/put.h"
#include "proto/wire/ticket.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kEntriesPerBatch = 8192;
constexpr TenantId kTenant{7};
constexpr int kNodes = 2;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "filled coordinator: %s\n", what.c_str());
  std::exit(2);
}

double CpuSeconds(clockid_t clock) {
  timespec spent{};
  ::clock_gettime(clock, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

// Lets everybody in over loopback.
class AnyPeer final : public transport::Authenticator {
 public:
  [[nodiscard]] std::vector<std::byte> SecretOf(transport::PeerRole, TenantId) const override {
    return {};
  }
  [[nodiscard]] bool AllowsNone(transport::PeerRole, TenantId) const override { return true; }
  [[nodiscard]] Epoch epoch() const override { return {}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 0; }
};

// A node's shard to which every commit is fine, and on its disk at once.
class AgreeingNode final : public transport::Service {
 public:
  void OnCall(std::unique_ptr<transport::Exchange> call) override {
    wire::ObjectCodesResponse codes;
    if (const auto commit = wire::CommitObjectsRequest::Decode(call->request())) {
      codes.objects.resize(commit->objects.size(), {Code::kOk, Level::kExact});
    } else if (const auto drop = wire::DropObjectsRequest::Decode(call->request())) {
      codes.objects.resize(drop->objects.size(), {Code::kOk, LevelSet()});
    } else {
      return call->Finish(Code::kUnimplemented, {});
    }
    wire::Buffer bytes;
    codes.Encode(bytes);
    call->Finish(Code::kOk, bytes);
  }
  void OnMoved(transport::Exchange&, std::uint32_t, Code) override {}
  void OnAbandoned(transport::Exchange&) override {}
};

}  // namespace

void RunOn(Side side) {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (count < 2) return;
  cpu_set_t processors;
  CPU_ZERO(&processors);
  const auto last = static_cast<std::size_t>(count - 1);
  if (side == Side::kClient) CPU_SET(last, &processors);
  for (std::size_t i = 0; side == Side::kServers && i < last; ++i) CPU_SET(i, &processors);
  (void)::sched_setaffinity(0, sizeof(processors), &processors);
}

struct FilledCoordinator::Impl {
  explicit Impl(std::size_t chunk_count) {
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
    keys_.resize(chunk_count / kChainKeys * kChainKeys);
    for (ChunkKey& key : keys_) seeded_.Fill(key.bytes);
    StartNode();
    Fill();
    Connect();
  }
  ~Impl() {
    stopping_ = true;
    node_thread_.join();
  }

  void StartNode() {
    transport::Options options;
    options.connections = 1;
    auto domain = transport::OpenDomain(options, clock_, random_, log_);
    if (!domain) Die(domain.error().ToString());
    domain_ = std::move(*domain);
    auto server = domain_->Listen("127.0.0.1:0", coordinator_->cluster(), RandomId<PeerId>(random_),
                                  agreeing_, any_peer_);
    if (!server) Die(server.error().ToString());
    node_ = std::move(*server);
    node_thread_ = std::thread([this] {
      while (!stopping_) {
        pollfd waited{node_->WaitFd(), POLLIN, 0};
        (void)::poll(&waited, 1, 100);
        (void)node_->Poll();
      }
    });
  }

  LookupRun Run(std::size_t depth, double seconds) {
    LookupRun run;
    in_flight_.assign(depth, {});
    const TimePoint began = clock_.Now();
    const TimePoint end =
        began + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    const double client_before = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
    const double all_before = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
    for (std::size_t slot = 0; slot < depth; ++slot) Ask(slot);
    while (clock_.Now() < end) {
      transport::Event events[16];
      const std::size_t count = channel_->Poll(events);
      for (std::size_t i = 0; i < count; ++i) {
        Check(events[i]);
        const std::chrono::duration<double, std::micro> took =
            clock_.Now() - in_flight_[events[i].tag].asked;
        run.latencies_us.push_back(took.count());
        Ask(events[i].tag);
      }
      if (count == 0) WaitForAnswer();
    }
    const std::chrono::duration<double> took = clock_.Now() - began;
    const double client = CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - client_before;
    const double all = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - all_before;
    for (std::size_t left = depth; left > 0;) {
      transport::Event events[16];
      left -= channel_->Poll(events);
    }
    const auto calls = static_cast<double>(run.latencies_us.size());
    run.keys_per_second = calls * kChainKeys / took.count();
    run.client_us = client * 1e6 / calls;
    run.server_us = (all - client) * 1e6 / calls;
    return run;
  }

  struct Asked {
    std::size_t chain = 0;
    TimePoint asked;
  };

  void Fill() {
    const auto rpc =
        grpc::CreateChannel(coordinator_->grpc_endpoint(), grpc::InsecureChannelCredentials());
    stub_ = v1::Membership::NewStub(rpc);
    for (int node = 1; node <= kNodes; ++node) {
      v1::RegisterRequest request;
      const auto uuid = RandomId<PeerId>(seeded_);
      request.set_node_uuid(std::string(AsText(uuid.bytes)));
      request.set_host_id(std::string(AsText(uuid.bytes)));
      request.add_shard_endpoints(node_->endpoint());
      request.set_dram_bytes(std::uint64_t{1} << 50);  // of what is put nothing is stored
      v1::RegisterResponse response;
      grpc::ClientContext context;
      const auto status = stub_->Register(&context, request, &response);
      if (!status.ok()) Die(status.error_message());
      nodes_.push_back(response.node_id());
      Report(response.node_id());
    }
  }

  void Report(std::uint32_t node) {
    for (std::size_t from = 0; from < keys_.size(); from += kEntriesPerBatch) {
      const std::size_t end = std::min(keys_.size(), from + kEntriesPerBatch);
      std::vector<wire::InventoryEntry> entries;
      for (std::size_t i = from; i < end; ++i) entries.push_back(EntryOf(i));
      v1::InventoryRequest request;
      request.set_full(true);
      request.set_first(from == 0);
      request.set_last(end == keys_.size());
      Tell(node, entries, request);
    }
  }

  void Tell(std::uint32_t node, const std::vector<wire::InventoryEntry>& entries,
            v1::InventoryRequest request = {}) {
    std::vector<std::byte> bytes;
    ByteWriter out(bytes);
    for (const wire::InventoryEntry& entry : entries) entry.Encode(out);
    request.set_node_id(node);
    request.set_sequence(++sequences_[node]);
    request.set_entries(std::string(AsText(bytes)));
    v1::InventoryResponse response;
    grpc::ClientContext context;
    const auto status = stub_->Inventory(&context, request, &response);
    if (!status.ok()) Die(status.error_message());
  }

  // Both nodes tell these, as objects they have or have no more; microseconds.
  double TellAll(std::vector<wire::InventoryEntry> entries, bool gone) {
    if (gone) {
      for (wire::InventoryEntry& entry : entries) entry.in_dram = entry.on_disk = LevelSet();
    }
    const TimePoint began = clock_.Now();
    for (const std::uint32_t node : nodes_) Tell(node, entries);
    return std::chrono::duration<double, std::micro>(clock_.Now() - began).count();
  }

  double EvictOnce() {
    const std::size_t first = seeded_.Next() % (keys_.size() / kChainKeys) * kChainKeys;
    std::vector<wire::InventoryEntry> entries;
    for (std::size_t i = 0; i < kChainKeys; ++i) entries.push_back(EntryOf(first + i));
    const double took_us = TellAll(entries, true);
    (void)TellAll(entries, false);
    return took_us;
  }

  double PutOnce() {
    // They go on where a stored chain ends.
    wire::PutStartRequest start;
    start.provenance = kExactProvenance;
    start.replicas = kNodes;
    start.known_map_version = map_version_;
    ChunkKey parent = keys_[(1 + seeded_.Next() % (keys_.size() / kChainKeys)) * kChainKeys - 1];
    for (std::size_t i = 0; i < wire::kChunksPerTicketMax; ++i) {
      const auto key = RandomId<ChunkKey>(seeded_);
      start.chunks.push_back({key, parent, 256, 1 << 20});
      parent = key;
    }
    const TimePoint began = clock_.Now();
    const auto started = Call<wire::PutStartResponse>(start);
    if (started.grants.size() != 1 || started.grants[0].nodes.size() != kNodes) {
      Die("a put was not granted");
    }
    wire::PutCommitRequest commit;
    commit.ticket = started.grants[0].ticket;
    std::vector<wire::InventoryEntry> entries;
    for (const wire::PutStartRequest::Chunk& chunk : start.chunks) {
      wire::PutCommitRequest::Object object;
      object.key = chunk.key;
      object.shape.layers = {0, 1};
      object.shape.kv_heads = {0, 1};
      object.level_bytes[static_cast<std::size_t>(Level::kExact)] = 1 << 20;
      ObjectDigest digest;
      std::copy_n(chunk.key.bytes.begin(), digest.checksum.bytes.size(),
                  digest.checksum.bytes.begin());
      for (const NodeId node : started.grants[0].nodes) object.acks.push_back({node, digest});
      wire::InventoryEntry entry;
      entry.tenant = kTenant;
      entry.key = chunk.key;
      entry.put_id = started.grants[0].put_id;
      entry.shape = object.shape;
      entries.push_back(entry);
      commit.objects.push_back(std::move(object));
    }
    const auto committed = Call<wire::PutCommitResponse>(commit);
    const std::chrono::duration<double, std::micro> took = clock_.Now() - began;
    for (const auto& object : committed.objects) {
      if (object.state != wire::CommitState::kVisible || object.replicas != kNodes) {
        Die("a commit failed");
      }
    }
    (void)TellAll(entries, true);
    return took.count();
  }

  // One call, waited for.
  template <class Response, class Request>
  Response Call(const Request& request) {
    bytes_.clear();
    request.Encode(bytes_);
    transport::Call call;
    call.request = bytes_;
    call.deadline = clock_.Now() + std::chrono::seconds(10);
    if (const Status status = channel_->Submit(call); !status.ok()) Die(status.ToString());
    transport::Event event;
    while (channel_->Poll({&event, 1}) == 0) WaitForAnswer();
    auto response = Response::Decode(event.response);
    if (event.code != Code::kOk || !response) Die("a call failed");
    return std::move(*response);
  }

  double LookupOnce() {
    in_flight_.assign(1, {});
    Ask(0);
    transport::Event event;
    while (channel_->Poll({&event, 1}) == 0) WaitForAnswer();
    Check(event);
    return std::chrono::duration<double, std::micro>(clock_.Now() - in_flight_[0].asked).count();
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
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(chain * kChainKeys);
    request_.head.version = wire::kLookupVersionCompact;
    request_.chains.resize(1);
    request_.chains.front().assign(first, first + kChainKeys);
    request_.known_map_version = map_version_;
    bytes_.clear();
    request_.Encode(bytes_);
    in_flight_[slot] = {chain, clock_.Now()};
    transport::Call call;
    call.tag = slot;
    call.request = bytes_;
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

  test::TempDir folder_;
  SteadyClock clock_;
  SystemRandom random_;
  SeededRandom seeded_{1};
  NullLog log_;
  std::vector<ChunkKey> keys_;
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  std::unique_ptr<v1::Membership::Stub> stub_;
  std::vector<std::uint32_t> nodes_;
  std::map<std::uint32_t, std::uint64_t> sequences_;  // of the last inventory of each node
  AnyPeer any_peer_;
  AgreeingNode agreeing_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<transport::Server> node_;  // of its thread, once that runs
  std::unique_ptr<transport::Channel> channel_;
  std::vector<Asked> in_flight_;  // by tag
  std::uint64_t map_version_ = 0;
  wire::LookupRequest request_;  // reused, as are its bytes
  wire::Buffer bytes_;
  std::atomic<bool> stopping_{false};
  std::thread node_thread_;  // last: it uses the above
};

FilledCoordinator::FilledCoordinator(std::size_t chunk_count)
    : impl_(std::make_unique<Impl>(chunk_count)) {}
FilledCoordinator::~FilledCoordinator() = default;

LookupRun FilledCoordinator::Run(std::size_t calls_in_flight, double seconds) {
  return impl_->Run(calls_in_flight, seconds);
}

double FilledCoordinator::LookupOnce() {
  return impl_->LookupOnce();
}
double FilledCoordinator::PutOnce() {
  return impl_->PutOnce();
}
double FilledCoordinator::EvictOnce() {
  return impl_->EvictOnce();
}

const std::vector<ChunkKey>& FilledCoordinator::keys() const {
  return impl_->keys_;
}

}  // namespace kdn::bench
