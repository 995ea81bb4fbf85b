// A coordinator in this process with its real transport, gRPC and metastore, what talks to it, and
// a node that answers what the coordinator tells it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "coordinator/service/coordinator.h"
#include "kdn/v1/admin.grpc.pb.h"
#include "kdn/v1/contexts.grpc.pb.h"
#include "kdn/v1/directory.grpc.pb.h"
#include "kdn/v1/events.grpc.pb.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "proto/wire/inventory.h"
#include "proto/wire/node_ops.h"
#include "tests/coordinator/core_world.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"

namespace kdn::coordinator {

// A shard of a node as far as the coordinator can tell: commits whatever it is told to.
class ObedientNode final : public transport::Service, public transport::Authenticator {
 public:
  explicit ObedientNode(transport::Domain& domain, const ClusterId& cluster) {
    auto listening = domain.Listen("127.0.0.1:0", cluster, PeerId{}, *this, *this);
    if (!listening) std::abort();
    server_ = std::move(*listening);
    endpoint_ = server_->endpoint();
    thread_ = std::thread([this] {
      while (!stopping_) {
        if (server_->Poll() == 0) std::this_thread::yield();
      }
    });
  }
  ~ObedientNode() override {
    stopping_ = true;
    thread_.join();
  }

  void OnCall(std::unique_ptr<transport::Exchange> call) override {
    wire::ObjectCodesResponse codes;
    const auto head = wire::PeekHead(call->request());
    if (head && head->type == wire::MessageType::kCommitObjects) {
      const auto request = wire::CommitObjectsRequest::Decode(call->request());
      codes.objects.resize(request->objects.size(), {Code::kOk, Level::kExact});
      commits_ += request->objects.size();
    } else if (head && head->type == wire::MessageType::kDropObjects) {
      const auto request = wire::DropObjectsRequest::Decode(call->request());
      codes.objects.resize(request->objects.size(), {Code::kOk, LevelSet()});
      drops_ += request->objects.size();
    } else if (head && head->type == wire::MessageType::kVerifyObjects) {
      const auto request = wire::VerifyObjectsRequest::Decode(call->request());
      codes.objects.resize(request->objects.size(), {verdict.load(), LevelSet()});
    }
    wire::Buffer response;
    codes.Encode(response);
    call->Finish(Code::kOk, response);
  }
  void OnMoved(transport::Exchange&, std::uint32_t, Code) override {}
  void OnAbandoned(transport::Exchange&) override {}

  [[nodiscard]] std::vector<std::byte> SecretOf(transport::PeerRole, TenantId) const override {
    return {};
  }
  [[nodiscard]] bool AllowsNone(transport::PeerRole role, TenantId) const override {
    return role == transport::PeerRole::kCoordinator;
  }
  [[nodiscard]] Epoch epoch() const override { return {}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 0; }

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] std::size_t commits() const { return commits_; }
  [[nodiscard]] std::size_t drops() const { return drops_; }
  std::atomic<Code> verdict{Code::kOk};  // of verifications

 private:
  std::unique_ptr<transport::Server> server_;
  std::string endpoint_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> commits_{0};
  std::atomic<std::size_t> drops_{0};
  std::thread thread_;
};

class ServiceWorld : public testing::Test {
 protected:
  ServiceWorld() {
    std::ofstream(folder_.File("tenants.toml")) << "[[tenant]]\nname = \"test\"\nid = 7\n"
                                                   "allow_none = true\n";
    config_.data_dir = folder_.File("data");
    config_.listen = config_.grpc_listen = "127.0.0.1:0";
    config_.tenants_file = folder_.File("tenants.toml");
    transport::Options options;
    options.connections = 1;
    domain_ = std::move(*transport::OpenDomain(options, clock_, random_, log_));
    Start();
  }
  ~ServiceWorld() override {
    client_.reset();
    coordinator_.reset();
  }

  void Start() {
    auto started = Coordinator::Start(config_, clock_, random_, log_);
    ASSERT_TRUE(started.has_value()) << started.error().ToString();
    coordinator_ = std::move(*started);
    channel_ =
        grpc::CreateChannel(coordinator_->grpc_endpoint(), grpc::InsecureChannelCredentials());
  }
  void Restart() {
    client_.reset();
    channel_.reset();
    coordinator_.reset();
    Start();
  }

  [[nodiscard]] transport::Identity ClientIdentity(TenantId tenant = kTestTenant) const {
    transport::Identity identity;
    identity.cluster = coordinator_->cluster();
    identity.tenant = tenant;
    return identity;
  }

  // One call over transport; its code and answer.
  template <class Request>
  std::pair<Code, wire::Buffer> Call(const Request& request) {
    if (client_ == nullptr) {
      auto connected = domain_->Connect(coordinator_->endpoint(), ClientIdentity(),
                                        clock_.Now() + std::chrono::seconds(5));
      if (!connected) return {connected.error().code(), {}};
      client_ = std::move(*connected);
    }
    wire::Buffer bytes;
    request.Encode(bytes);
    transport::Call call;
    call.tag = ++last_tag_;
    call.request = bytes;
    call.deadline = clock_.Now() + std::chrono::seconds(10);
    if (Status status = client_->Submit(call); !status.ok()) return {status.code(), {}};
    while (true) {
      transport::Event event;
      if (client_->Poll({&event, 1}) == 0) continue;
      return {event.code, wire::Buffer(event.response.begin(), event.response.end())};
    }
  }
  template <class Response, class Request>
  Response CallFor(const Request& request) {
    const auto [code, bytes] = Call(request);
    EXPECT_EQ(code, Code::kOk);
    auto response = Response::Decode(bytes);
    EXPECT_TRUE(response.has_value());
    return response.value_or(Response{});
  }

  v1::RegisterResponse Register(std::uint64_t number, const std::string& endpoint) {
    v1::RegisterRequest request;
    const PeerId uuid = NumberedId<PeerId>(number);
    const HostId host = NumberedId<HostId>(number);
    request.set_node_uuid(std::string(AsText(uuid.bytes)));
    request.set_host_id(std::string(AsText(host.bytes)));
    request.add_shard_endpoints(endpoint);
    request.set_dram_bytes(1 << 30);
    v1::RegisterResponse response;
    grpc::ClientContext context;
    const auto status = v1::Membership::NewStub(channel_)->Register(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  v1::InventoryResponse Report(std::uint32_t node, const std::vector<ChunkKey>& keys,
                               std::uint64_t sequence = 1, bool full = true) {
    v1::InventoryRequest request;
    request.set_node_id(node);
    request.set_full(full);
    request.set_first(full);
    request.set_last(full);
    request.set_sequence(sequence);
    std::vector<std::byte> bytes;
    ByteWriter out(bytes);
    for (const ChunkKey& key : keys) {
      wire::InventoryEntry entry;
      entry.tenant = kTestTenant;
      entry.key = key;
      entry.put_id = NumberedId<PutId>(5);
      entry.token_count = 256;
      entry.provenance = kExactProvenance;
      entry.level_bytes[3] = 4096;
      entry.on_disk = Level::kExact;
      entry.Encode(out);
    }
    request.set_entries(std::string(AsText(bytes)));
    v1::InventoryResponse response;
    grpc::ClientContext context;
    const auto status = v1::Membership::NewStub(channel_)->Inventory(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  std::size_t LookupLength(const std::vector<ChunkKey>& keys) {
    wire::LookupRequest request;
    request.chains = {keys};
    return CallFor<wire::LookupResponse>(request).chunks.size();
  }

  test::TempDir folder_;
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  CoordinatorConfig config_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<Coordinator> coordinator_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<transport::Channel> client_;
  std::uint64_t last_tag_ = 0;
};

}  // namespace kdn::coordinator
