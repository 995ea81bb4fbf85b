// Goal: a client without a cluster, or with a hostile one, is a client that misses: at once, or by
// its deadline.
// Method: a port where nobody listens, and a coordinator in this process that answers nonsense.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "kdn/client.h"
#include "proto/wire/lookup.h"
#include "proto/wire/put.h"
#include "tests/client/test_engine.h"
#include "tests/support/free_port.h"
#include "transport/channel.h"

namespace kdn::client {
namespace {

using std::chrono::milliseconds;
using test::TestEngine;

constexpr milliseconds kTimeout{300};
// Beyond a deadline: 10 ms are promised, the rest is for a machine that has other work.
constexpr milliseconds kLate{200};

enum class Answer {
  kNever,
  kNothing,       // ok, no bytes
  kNoise,         // ok, random bytes
  kCutShort,      // a right answer less its last byte
  kOtherChain,    // right in form, for a chain that nobody asked for
  kUnknownCode,   // a code that is none
  kSilentNodes,   // grants for nodes that never answer
  kPlainOnly,     // one chunk, by a coordinator that knows no compact lookups
  kFullNodes,     // puts are taken, and fail at their commit for want of room
  kFullNodesOld,  // the same, by a coordinator that does not say why
};

// A coordinator that accepts everybody and answers every call alike.
class Hostile final : public transport::Service, public transport::Authenticator {
 public:
  explicit Hostile(Answer answer) : answer_(answer) {
    auto domain = transport::OpenDomain({}, clock_, random_, log_);
    if (!domain) std::abort();
    domain_ = *std::move(domain);
    auto server = domain_->Listen("127.0.0.1:0", ClusterId{}, PeerId{}, *this, *this);
    if (!server) std::abort();
    server_ = *std::move(server);
    endpoint_ = server_->endpoint();
    thread_ = std::thread([this] {
      while (!stop_.load()) {
        pollfd readable{server_->WaitFd(), POLLIN, 0};
        poll(&readable, 1, 10);
        server_->Poll();
      }
    });
  }
  ~Hostile() override {
    stop_.store(true);
    thread_.join();
    calls_.clear();
    server_.reset();
  }

  void OnCall(std::unique_ptr<transport::Exchange> call) override {
    ++asked_;
    wire::Buffer answer;
    Code code = Code::kOk;
    switch (answer_) {
      case Answer::kNever:
        calls_.push_back(std::move(call));
        return;
      case Answer::kNothing:
        break;
      case Answer::kNoise:
        answer.resize(random_.Next() % 4096);
        random_.Fill(answer);
        break;
      case Answer::kCutShort:
        wire::LookupResponse{}.Encode(answer);
        answer.pop_back();
        break;
      case Answer::kOtherChain: {
        wire::LookupResponse response;
        response.chain = 999;
        response.Encode(answer);
        break;
      }
      case Answer::kUnknownCode:
        code = static_cast<Code>(99);
        break;
      case Answer::kPlainOnly: {
        const auto request = wire::LookupRequest::Decode(call->request());
        if (request && request->View().Accepts() == wire::LookupLayout::kPlain) {
          OneChunk().Encode(answer);
        } else {
          code = Code::kUnimplemented;
        }
        break;
      }
      case Answer::kSilentNodes: {
        const auto request = wire::PutStartRequest::Decode(call->request());
        if (!request) {
          calls_.push_back(std::move(call));
          return;
        }
        GrantsToSelf(request->chunks.size()).Encode(answer);
        break;
      }
      case Answer::kFullNodes:
      case Answer::kFullNodesOld:
        code = RefuseAtCommit(call->request(), answer);
        break;
    }
    call->Finish(code, answer);
  }
  void OnMoved(transport::Exchange&, std::uint32_t, Code) override {}
  void OnAbandoned(transport::Exchange& call) override {
    std::erase_if(calls_, [&](const auto& held) { return held.get() == &call; });
  }

  std::vector<std::byte> SecretOf(transport::PeerRole, TenantId) const override { return {}; }
  bool AllowsNone(transport::PeerRole, TenantId) const override { return true; }
  Epoch epoch() const override { return Epoch{1}; }
  std::uint64_t map_version() const override { return 1; }

  const std::string& endpoint() const { return endpoint_; }
  int asked() const { return asked_.load(); }

 private:
  Code RefuseAtCommit(ConstBytes bytes, wire::Buffer& answer) {
    if (const auto start = wire::PutStartRequest::Decode(bytes)) {
      GrantsToSelf(start->chunks.size()).Encode(answer);
    } else if (wire::PutPieceRequest::Decode(bytes)) {
      wire::PutPieceResponse{.acks = {{NodeId{1}, {}}, {NodeId{2}, {}}}, .failed = {}}.Encode(
          answer);
    } else if (const auto commit = wire::PutCommitRequest::Decode(bytes)) {
      const bool codes = answer_ == Answer::kFullNodes;
      const bool asked = commit->head.version >= wire::kPutCommitVersionCodes;
      if (asked && !codes) return Code::kUnimplemented;
      wire::PutCommitResponse response;
      response.objects.resize(commit->objects.size());
      for (auto& object : response.objects) {
        if (asked) object.code = Code::kResourceExhausted;
      }
      response.Encode(answer);
    }
    return Code::kOk;
  }

  // A chunk of 64 tokens, on one node behind this very endpoint.
  wire::LookupResponse OneChunk() {
    wire::LookupResponse response;
    response.map = {.version = 1, .nodes = {{NodeId{1}, {}, {endpoint_}}}};
    wire::PartLocation part;
    part.shape.layers = part.shape.kv_heads = {0, 1};
    part.replicas.push_back({NodeId{1}, Level::kExact, Level::kExact});
    response.chunks.push_back({RandomId<PutId>(random_), kExactProvenance, 64, {part}});
    return response;
  }
  // One grant for every 32 chunks, all to two nodes behind this very endpoint.
  wire::PutStartResponse GrantsToSelf(std::size_t chunks) {
    wire::PutStartResponse response;
    response.map.version = 1;
    const std::vector<NodeId> nodes{NodeId{1}, NodeId{2}};
    for (const NodeId node : nodes) response.map.nodes.push_back({node, {}, {endpoint_}});
    for (std::size_t c = 0; c < chunks; ++c) {
      if (c % 32 == 0) {
        response.grants.push_back({RandomId<PutId>(random_), nodes, wire::Buffer(64), 2});
      }
      response.verdicts.push_back(wire::PutVerdict::kStore);
      response.grant_of.push_back(static_cast<std::uint16_t>(c / 32));
    }
    return response;
  }

  const Answer answer_;
  SteadyClock clock_;
  SeededRandom random_{7};
  NullLog log_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<transport::Server> server_;
  std::string endpoint_;
  std::vector<std::unique_ptr<transport::Exchange>> calls_;  // of the polling thread
  std::atomic<int> asked_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct Timed {
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
  [[nodiscard]] std::chrono::steady_clock::duration Took() const {
    return std::chrono::steady_clock::now() - begun;
  }
};

std::unique_ptr<Client> Open(const std::string& coordinator) {
  ClientOptions options;
  options.coordinator = coordinator;
  options.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32, std::byte{9})}};
  options.chunk_tokens = 64;
  options.staging_bytes = std::size_t{32} << 20;
  options.timeout = kTimeout;
  auto client = OpenClient(options);
  if (!client) std::abort();
  return *std::move(client);
}

// Every kind of call once; none may find, store or outlive its deadline.
void ExpectMisses(Client& client) {
  const test::EngineShape shape;
  auto model = client.UseModel(test::SpecOf(shape), {});
  ASSERT_TRUE(model.has_value());
  const std::vector<TokenId> tokens = test::TokensOf(1, 320);
  {
    const Timed timed;
    EXPECT_EQ(client.Lookup(**model, tokens, {})->Take().tokens_matched(), 0U);
    EXPECT_LT(timed.Took(), kTimeout + kLate);
  }
  {
    const Timed timed;
    EXPECT_EQ(client.LookupContext(**model, "manual", {})->Take().tokens_matched(), 0U);
    EXPECT_LT(timed.Took(), kTimeout + kLate);
  }
  {
    const Timed timed;
    StorePlanOptions options;
    options.context = "manual";
    const auto plan = client.PlanStore(**model, tokens, options);
    EXPECT_TRUE(!plan.has_value() || plan->chunks_to_store() == 0);
    EXPECT_LT(timed.Took(), kTimeout + kLate);
  }
  {
    TestEngine engine(shape);
    engine.Poison();
    auto load = client.Load(**model, LookupResult(), engine.kv(), engine.blocks(), {});
    ASSERT_TRUE(load.has_value());
    EXPECT_EQ((*load)->Wait().tokens_loaded, 0U);
    EXPECT_TRUE(engine.AllPoison());
  }
}

TEST(RemoteClient, OpensAtOnceWithoutACluster) {
  const std::string nobody = "127.0.0.1:" + std::to_string(test::FreePort());
  const Timed timed;
  const auto client = Open(nobody);
  EXPECT_LT(timed.Took(), milliseconds(50) + kLate);
  EXPECT_FALSE(client->Connected());
}

TEST(RemoteClient, WithoutAClusterEverythingIsAMissInTime) {
  const auto client = Open("127.0.0.1:" + std::to_string(test::FreePort()));
  ExpectMisses(*client);
  const test::EngineShape shape;
  auto model = client->UseModel(test::SpecOf(shape), {});
  const auto plan = client->PlanStore(**model, test::TokensOf(1, 320), {});
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error().code(), Code::kUnavailable);
}

TEST(RemoteClient, AnAbandonedLookupDoesNotHoldTheClientUp) {
  const Hostile coordinator(Answer::kNever);
  const Timed timed;
  {
    const auto client = Open(coordinator.endpoint());
    auto model = client->UseModel(test::SpecOf({}), {});
    for (int i = 0; i < 20; ++i) client->Lookup(**model, test::TokensOf(1, 320), {});
  }
  EXPECT_LT(timed.Took(), kTimeout + kLate);
}

TEST(RemoteClient, ACoordinatorWithoutCompactLookupsIsAskedForPlainOnes) {
  const Hostile coordinator(Answer::kPlainOnly);
  const auto client = Open(coordinator.endpoint());
  auto model = client->UseModel(test::SpecOf({}), {});
  ASSERT_TRUE(model.has_value());
  for (int i = 0; i < 2; ++i) {
    const auto lookup = client->Lookup(**model, test::TokensOf(1, 320), {});
    EXPECT_EQ(lookup->Take().tokens_matched(), 64U);
  }
}

TEST(RemoteClient, NodesThatNeverAnswerHoldAStoreUpOnceEach) {
  const Hostile cluster(Answer::kSilentNodes);
  const auto client = Open(cluster.endpoint());
  constexpr std::size_t kTokens = std::size_t{64} * 256;  // 16 rounds of objects in flight
  test::EngineShape shape;
  shape.layers = 1;
  shape.kv_heads = 1;
  shape.block_count = kTokens / shape.block_tokens;
  auto model = client->UseModel(test::SpecOf(shape), {});
  ASSERT_TRUE(model.has_value());
  const TestEngine engine(shape);
  const auto plan = client->PlanStore(**model, test::TokensOf(1, kTokens), {});
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  ASSERT_EQ(plan->chunks_to_store(), 256U);
  const Timed timed;
  const auto store = client->Store(**model, *plan, {}, engine.kv(), engine.blocks());
  ASSERT_TRUE(store.has_value());
  [[maybe_unused]] const Status read = (*store)->WaitRead();
  EXPECT_LT(timed.Took(), 4 * kTimeout);  // two nodes, and what a busy machine adds
  const StoreReport report = (*store)->Wait();
  EXPECT_LT(timed.Took(), 4 * kTimeout);  // two nodes, and what a busy machine adds
  EXPECT_EQ(report.code, Code::kUnavailable);
  EXPECT_EQ(report.chunks_failed, 256U);
}

TEST(RemoteClient, AStoreForWhichNodesHaveNoRoomSaysSo) {
  for (const bool told : {true, false}) {
    const Hostile cluster(told ? Answer::kFullNodes : Answer::kFullNodesOld);
    const auto client = Open(cluster.endpoint());
    const TestEngine engine{test::EngineShape{}};
    auto model = client->UseModel(test::SpecOf({}), {});
    ASSERT_TRUE(model.has_value());
    for (int i = 0; i < 2; ++i) {
      const auto plan = client->PlanStore(**model, test::TokensOf(1, 320), {});
      ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
      const auto store = client->Store(**model, *plan, {}, engine.kv(), engine.blocks());
      ASSERT_TRUE(store.has_value());
      const StoreReport report = (*store)->Wait();
      EXPECT_EQ(report.code, told ? Code::kResourceExhausted : Code::kUnavailable);
      EXPECT_EQ(report.chunks_failed, plan->chunks_to_store());
    }
  }
}

class RemoteHostile : public testing::TestWithParam<Answer> {};

TEST_P(RemoteHostile, CoordinatorsAnswersAreMissesInTime) {
  const Hostile coordinator(GetParam());
  const auto client = Open(coordinator.endpoint());
  const int rounds = GetParam() == Answer::kNoise ? 50 : 1;
  for (int i = 0; i < rounds && !testing::Test::HasFailure(); ++i) ExpectMisses(*client);
  EXPECT_GT(coordinator.asked(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, RemoteHostile,
                         testing::Values(Answer::kNever, Answer::kNothing, Answer::kNoise,
                                         Answer::kCutShort, Answer::kOtherChain,
                                         Answer::kUnknownCode));

}  // namespace
}  // namespace kdn::client
