// A node and a coordinator that a test speaks for, over gRPC.
#include <arpa/inet.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "kdn/v1/admin.grpc.pb.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "node/node.h"
#include "proto/kdn/v1/credential.h"
#include "proto/wire/inventory.h"
#include "tests/node/node_world.h"
#include "tests/support/temp_dir.h"
#include "transport/wakeup.h"

namespace kdn::test {
namespace {

const std::string kCluster(ClusterId::kSize, 'c');

// Says what the test has set, notes what it is told, and lets the test wait for that.
class SpokenCoordinator final : public v1::Membership::Service, public v1::Admin::Service {
 public:
  explicit SpokenCoordinator(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::Membership::Service*>(this));
    builder.RegisterService(static_cast<v1::Admin::Service*>(this));
    server_ = builder.BuildAndStart();
    endpoint_ = "127.0.0.1:" + std::to_string(port);
  }
  ~SpokenCoordinator() override { Stop(); }

  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

  void Change(const std::function<void(SpokenCoordinator&)>& change) {
    const std::lock_guard lock(mutex_);
    change(*this);
  }
  // Until it is so; looked at whenever something was told.
  void Await(const std::function<bool(const SpokenCoordinator&)>& condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return condition(*this); });
  }

  // Guarded by mutex_: touched in Change() and Await() only.
  std::uint32_t epoch = 1;
  bool want_full = false;  // asked for with every beat until it comes
  std::vector<v1::RegisterRequest> registrations;
  std::vector<v1::InventoryRequest> inventories;
  std::size_t beats = 0;
  std::map<std::string, std::string> shown;  // the credential, by method

 private:
  // Requires: mutex_ is held.
  void Note(const char* method, const grpc::ServerContext& context) {
    const auto credential = context.client_metadata().find(v1::kCredentialKey);
    if (credential == context.client_metadata().end()) return;
    shown[method] = std::string(credential->second.data(), credential->second.size());
  }
  grpc::Status Status(grpc::ServerContext* context, const v1::StatusRequest*,
                      v1::StatusResponse* response) override {
    const std::lock_guard lock(mutex_);
    Note("Status", *context);
    response->set_cluster_id(kCluster);
    return grpc::Status::OK;
  }
  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    const std::lock_guard lock(mutex_);
    Note("Register", *context);
    registrations.push_back(*request);
    response->set_node_id(7);
    response->set_epoch(epoch);
    response->set_cluster_id(kCluster);
    response->set_coordinator_now_ms(1000);
    v1::NodeInfo* node = response->mutable_nodes()->add_nodes();
    node->set_node_id(7);
    *node->mutable_shard_endpoints() = request->shard_endpoints();
    changed_.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorBeat, v1::NodeBeat>* stream) override {
    v1::NodeBeat beat;
    while (stream->Read(&beat)) {
      v1::CoordinatorBeat answer;
      {
        const std::lock_guard lock(mutex_);
        ++beats;
        Note("Heartbeat", *context);
        answer.set_epoch(epoch);
        answer.set_want_full_inventory(want_full);
        changed_.notify_all();
      }
      answer.set_coordinator_now_ms(2000);
      answer.set_tenants_version(3);
      v1::TenantAccess* tenant = answer.add_tenants();
      tenant->set_tenant_id(4);
      tenant->set_access_secret("secret");
      if (!stream->Write(answer)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status Inventory(grpc::ServerContext* context, const v1::InventoryRequest* request,
                         v1::InventoryResponse*) override {
    const std::lock_guard lock(mutex_);
    Note("Inventory", *context);
    inventories.push_back(*request);
    if (request->full()) want_full = false;
    changed_.notify_all();
    return grpc::Status::OK;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<grpc::Server> server_;
  std::string endpoint_;
};

// Takes connections at a coordinator's endpoint and closes each after its first byte.
class Hangup {
 public:
  explicit Hangup(const std::string& endpoint) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port =
        htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    const int on = 1;
    EXPECT_EQ(setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
  }
  // Whether whoever called said anything before he gave up.
  [[nodiscard]] bool TakeOne() const {
    const transport::Fd taken(accept(listener_.get(), nullptr, nullptr));
    char first = 0;
    return recv(taken.get(), &first, 1, 0) == 1;
  }

 private:
  transport::Fd listener_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

class Registrar : public testing::Test {
 protected:
  void Open() {
    node::NodeConfig config;
    config.data_dir = folder_.path().string();
    config.coordinator = coordinator_.endpoint();
    config.write_mode = "dram_only";
    config.dram_mib = 4;
    auto node = node::Node::Open(config, {.clock = clock_,
                                          .random = random_,
                                          .log = log_,
                                          .registry = registry_,
                                          .cluster_secret = secret_});
    ASSERT_TRUE(node) << node.error().ToString();
    node_ = *std::move(node);
  }

  SpokenCoordinator coordinator_;
  TempDir folder_;
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  MetricRegistry registry_;
  std::vector<std::byte> secret_;
  std::unique_ptr<node::Node> node_;
};

TEST_F(Registrar, ShowsThatItKnowsTheClustersSecretWithEveryCall) {
  secret_.assign(32, std::byte{7});
  Open();
  coordinator_.Await([&](const auto& told) { return told.beats > 0 && !told.inventories.empty(); });
  coordinator_.Change([&](const SpokenCoordinator& told) {
    const std::string credential = v1::CredentialOf(secret_);
    const std::map<std::string, std::string> all = {{"Status", credential},
                                                    {"Register", credential},
                                                    {"Heartbeat", credential},
                                                    {"Inventory", credential}};
    EXPECT_EQ(told.shown, all);
  });
}

// The coordinator sent the reader, so it takes the object for stored.
TEST_F(Registrar, TellsThatWhatAReaderDidNotFindIsGone) {
  Open();
  coordinator_.Await([](const auto& told) { return !told.inventories.empty(); });
  auto domain = *transport::OpenDomain({.connections = 1}, clock_, random_, log_);
  transport::Identity reader{.cluster = node_->cluster(),
                             .tenant = TenantId{4},
                             .peer = RandomId<PeerId>(random_),
                             .host = {},
                             .scheme = transport::HelloScheme::kHmac};
  const ConstBytes secret = AsBytes(std::string_view("secret"));
  reader.secret.assign(secret.begin(), secret.end());
  // The node hears of the tenant with a beat.
  Result<std::unique_ptr<transport::Channel>> channel = Error(Code::kUnavailable);
  while (!channel) {
    channel =
        domain->Connect(node_->endpoints()[0], reader, clock_.Now() + std::chrono::seconds(5));
  }
  TestClient client(*std::move(channel), *domain);
  const TestObject object = MakeObject();
  EXPECT_EQ(ReadOne(client, WholeOf(object)).item.code, Code::kNotFound);
  coordinator_.Await([](const auto& told) { return told.inventories.size() == 2; });
  coordinator_.Change([&](const SpokenCoordinator& told) {
    EXPECT_FALSE(told.inventories[1].full());
    ByteReader in(AsBytes(told.inventories[1].entries()));
    const auto entry = wire::InventoryEntry::Decode(in);
    ASSERT_TRUE(in.AtEnd());
    EXPECT_EQ(entry.tenant, TenantId{4});
    EXPECT_EQ(entry.key, object.header.key);
    EXPECT_EQ(entry.put_id, object.header.put_id);
    EXPECT_EQ(entry.shape.number, object.header.part.number);
    EXPECT_TRUE((entry.in_dram | entry.on_disk).empty());
  });
}

TEST_F(Registrar, LearnsTheClusterAndTellsWhereItsShardsAre) {
  Open();
  EXPECT_EQ(AsText(node_->cluster().bytes), kCluster);
  coordinator_.Await([](const auto& told) { return told.beats > 0; });
  coordinator_.Change([&](const SpokenCoordinator& told) {
    const v1::RegisterRequest& request = told.registrations.at(0);
    EXPECT_EQ(request.cluster_id(), kCluster);
    EXPECT_EQ(request.node_uuid().size(), PeerId::kSize);
    const auto endpoints = node_->endpoints();
    ASSERT_EQ(request.shard_endpoints_size(), 1);
    EXPECT_EQ(request.shard_endpoints(0), endpoints[0]);
  });
  EXPECT_EQ(node_->state().view()->self, NodeId{7});
  EXPECT_EQ(node_->state().epoch(), Epoch{1});
  EXPECT_TRUE(node_->state().InContact(clock_.Now()));
}

TEST_F(Registrar, IsTheSameNodeAfterARestart) {
  Open();
  coordinator_.Await([](const auto& told) { return told.beats > 0; });
  node_.reset();
  Open();
  coordinator_.Await([](const auto& told) { return told.registrations.size() == 2; });
  coordinator_.Change([](const SpokenCoordinator& told) {
    EXPECT_EQ(told.registrations[0].node_uuid(), told.registrations[1].node_uuid());
    EXPECT_EQ(told.registrations[1].epoch_seen(), 1U);
  });
}

TEST_F(Registrar, ReportsAllThatItHoldsAtFirstAndWhenAsked) {
  Open();
  coordinator_.Await([](const auto& told) { return told.inventories.size() == 1; });
  coordinator_.Change([](SpokenCoordinator& told) { told.want_full = true; });
  coordinator_.Await([](const auto& told) { return told.inventories.size() == 2; });
  coordinator_.Change([](const SpokenCoordinator& told) {
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(told.inventories[i].full());
      EXPECT_TRUE(told.inventories[i].first());
      EXPECT_TRUE(told.inventories[i].last());
      EXPECT_EQ(told.inventories[i].sequence(), i + 1);
    }
  });
}

TEST_F(Registrar, JoinsACoordinatorOfALaterEpochAnew) {
  Open();
  coordinator_.Await([](const auto& told) { return told.beats > 0; });
  coordinator_.Change([](SpokenCoordinator& told) { told.epoch = 2; });
  coordinator_.Await([](const auto& told) {
    return told.registrations.size() == 2 && told.inventories.size() == 2;
  });
  EXPECT_EQ(node_->state().epoch(), Epoch{2});
}

// An attempt of gRPC's lasts two seconds, and only a thread that is in a call drives it: an attempt
// without one keeps the node from a coordinator that has long been back.
TEST_F(Registrar, DrivesEveryAttemptToFindACoordinatorThatIsAway) {
  Open();
  coordinator_.Await([](const auto& told) { return told.beats > 0; });
  coordinator_.Stop();
  {
    const Hangup hangup(coordinator_.endpoint());
    for (int attempt = 0; attempt < 4; ++attempt) EXPECT_TRUE(hangup.TakeOne()) << attempt;
  }
  SpokenCoordinator later(coordinator_.endpoint());
  later.Await([](const auto& told) { return !told.inventories.empty(); });
  node_.reset();  // before the coordinator that it knows
}

TEST_F(Registrar, DoesNotObeyACoordinatorOfAnEarlierEpoch) {
  coordinator_.Change([](SpokenCoordinator& told) { told.epoch = 5; });
  Open();
  coordinator_.Await([](const auto& told) { return told.beats > 0; });
  coordinator_.Change([](SpokenCoordinator& told) {
    told.epoch = 4;
    told.beats = 0;
  });
  // It asks again and again, and never joins.
  coordinator_.Await([](const auto& told) { return told.registrations.size() >= 3; });
  EXPECT_FALSE(node_->ready());
  EXPECT_EQ(node_->state().epoch(), Epoch{5});
}

}  // namespace
}  // namespace kdn::test
