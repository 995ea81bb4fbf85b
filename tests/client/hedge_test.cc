// Goal: a load whose replica is slow, silent or overloaded is whole all the same, delivers the
// right bytes, and costs the cluster no more second requests than it may. Method: a client over one
// store that plays two nodes; what each does with reads, the test says.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/core/client_impl.h"
#include "client/embedded/embedded_calls.h"
#include "proto/wire/overload.h"
#include "proto/wire/read.h"
#include "tests/client/test_engine.h"

namespace kdn::client {
namespace {

using std::chrono::milliseconds;
using test::TestEngine;

enum class Conduct {
  kServe,
  kSilent,      // answers nothing, not even a probe
  kSlow,        // answers probes, and reads never
  kStall,       // brings the first half of a read, and then nothing more
  kOverloaded,  // refuses reads and puts, `refusals` times, with a time to come back
};

struct NodeScript {
  Conduct conduct = Conduct::kServe;
  int refusals = 0;
  milliseconds retry_after{30};
  int reads = 0;      // that came, refused ones too
  int too_early = 0;  // requests that came before they were to
  TimePoint quiet_since{};
  TimePoint not_before{};
};

// Nodes 1 and 2, of which 1 takes all puts and both serve all reads.
class TwoNodes final : public Calls {
 public:
  struct Script {
    std::mutex mutex;
    std::map<NodeId, NodeScript> nodes;  // guarded by mutex
  };

  TwoNodes(std::unique_ptr<EmbeddedCalls> store, std::shared_ptr<Script> script)
      : store_(std::move(store)), script_(std::move(script)) {}
  ~TwoNodes() override {
    store_.reset();
    for (auto& [id, call] : std::exchange(held_, {})) call.done(Code::kCancelled, {});
  }

  CallId Start(CallRequest call) override {
    const CallId id{next_id_++};
    const auto head = wire::PeekHead(call.request);
    if (head->type == wire::MessageType::kLookup) ShowTwoReplicas(call);
    const bool to_node =
        head->type == wire::MessageType::kRead || head->type == wire::MessageType::kPutPiece;
    if (to_node && !Answers(id, head->type, call)) return id;
    Forward(id, std::move(call));
    return id;
  }
  void Cancel(CallId id) override {
    const auto inner = inner_.find(id);
    if (inner != inner_.end()) store_->Cancel(inner->second);
    if (held_.contains(id)) ended_.push_back({id, Code::kCancelled, {}});
  }
  bool Avoid(const CallTarget&) const override { return false; }
  bool Connected() const override { return true; }
  TimePoint LastHeard(const CallTarget& target) const override {
    const std::scoped_lock lock(script_->mutex);
    const NodeScript& node = script_->nodes[target.node];
    return node.conduct == Conduct::kSilent ? node.quiet_since : std::chrono::steady_clock::now();
  }
  bool Poll() override {
    bool busy = store_->Poll();
    const TimePoint now = std::chrono::steady_clock::now();
    for (const auto& [id, call] : held_) {
      if (call.deadline <= now) ended_.push_back({id, Code::kDeadlineExceeded, {}});
    }
    for (Ended& ended : std::exchange(ended_, {})) {
      const auto call = held_.extract(ended.id);
      if (call.empty()) continue;
      if (ended.code == Code::kResourceExhausted) NoteRefusal(call.mapped().target.node);
      call.mapped().done(ended.code, ended.response);
      busy = true;
    }
    return busy;
  }
  int WaitFd() const override { return store_->WaitFd(); }
  Result<std::unique_ptr<BulkMemory>> MakeMemory(std::size_t size_bytes) override {
    return store_->MakeMemory(size_bytes);
  }

 private:
  struct Ended {
    CallId id;
    Code code;
    wire::Buffer response;
  };

  static void ShowTwoReplicas(CallRequest& call) {
    call.done = [done = std::move(call.done)](Code code, ConstBytes response) {
      auto answer = wire::LookupResponse::Decode(response);
      if (code != Code::kOk || !answer) return done(code, response);
      for (wire::ChunkLocation& chunk : answer->chunks) {
        for (wire::PartLocation& part : chunk.parts) {
          wire::ReplicaLocation second = part.replicas[0];
          second.node = NodeId{2};
          part.replicas.push_back(second);
        }
      }
      wire::Buffer shown;
      answer->Encode(shown);
      done(code, shown);
    };
  }

  // From now on the client knows.
  void NoteRefusal(NodeId id) {
    const std::scoped_lock lock(script_->mutex);
    NodeScript& node = script_->nodes[id];
    node.not_before = std::chrono::steady_clock::now() + node.retry_after;
  }

  // False if the call was dealt with here.
  bool Answers(CallId id, wire::MessageType type, CallRequest& call) {
    const TimePoint now = std::chrono::steady_clock::now();
    const std::scoped_lock lock(script_->mutex);
    NodeScript& node = script_->nodes[call.target.node];
    const bool read = type == wire::MessageType::kRead;
    const bool probe = read && wire::ReadRequest::Decode(call.request)->items.empty();
    if (read && !probe) ++node.reads;
    if (now < node.not_before) ++node.too_early;
    switch (node.conduct) {
      case Conduct::kServe:
        return true;
      case Conduct::kSilent:
        break;
      case Conduct::kSlow:
        if (probe || !read) return true;
        break;
      case Conduct::kStall:
        if (read && !probe) HoldSecondHalf(id, call);
        return true;
      case Conduct::kOverloaded:
        if (probe || node.refusals-- <= 0) return true;
        wire::Buffer response;
        wire::Overload{wire::ShedReason::kQueue, wire::Priority::kLoad, node.retry_after}.Encode(
            response);
        ended_.push_back({id, Code::kResourceExhausted, std::move(response)});
        break;
    }
    held_.emplace(id, std::move(call));
    return false;
  }

  // Its end never comes by itself, and of its bytes only what lies in the first half.
  void HoldSecondHalf(CallId id, CallRequest& call) {
    const std::size_t half = call.window.size() / 2;
    call.piece = [half, piece = std::move(call.piece)](std::size_t offset, std::size_t size) {
      if (offset >= half) return;
      piece(offset, std::min(size, half - offset));
    };
    call.done = [this, id, deadline = call.deadline, done = std::move(call.done)](
                    Code code, ConstBytes response) {
      if (code != Code::kOk) return done(code, response);
      CallRequest& held = held_[id];
      held.deadline = deadline;
      held.done = done;
    };
  }

  void Forward(CallId id, CallRequest call) {
    call.done = [this, id, done = std::move(call.done)](Code code, ConstBytes response) {
      inner_.erase(id);
      done(code, response);
    };
    inner_[id] = store_->Start(std::move(call));
  }

  std::unique_ptr<EmbeddedCalls> store_;
  const std::shared_ptr<Script> script_;  // shared with the test
  std::map<CallId, CallId> inner_;
  std::map<CallId, CallRequest> held_;
  std::vector<Ended> ended_;
  std::uint64_t next_id_ = 1;
};

constexpr std::uint32_t kChunkTokens = 256;
constexpr std::uint32_t kTokens = 4 * kChunkTokens;

class HedgeTest : public testing::Test {
 protected:
  void Open(ClientOptions options = {}) {
    options.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32)}};
    options.chunk_tokens = kChunkTokens;
    options.timeout = milliseconds(10'000);
    auto context = std::make_shared<ClientContext>(options);
    context->log = std::make_shared<NullLog>();
    auto store = storage::OpenObjectStore(
        {.dram_bytes = std::size_t{32} << 20, .write_mode = storage::WriteMode::kDramOnly}, {},
        nullptr, {context->clock, *context->log, context->registry});
    ASSERT_TRUE(store);
    auto calls = EmbeddedCalls::Make(options.tenant, nullptr, *std::move(store), context->clock,
                                     context->random);
    ASSERT_TRUE(calls);
    script_ = std::make_shared<TwoNodes::Script>();
    auto client =
        MakeClient(options, context, std::make_unique<TwoNodes>(*std::move(calls), script_));
    ASSERT_TRUE(client);
    client_ = *std::move(client);
    shape_.block_count = kTokens / shape_.block_tokens;
    model_ = *client_->UseModel(test::SpecOf(shape_), {});
    right_ = std::make_unique<TestEngine>(shape_);
    right_->Fill(1);
  }
  // Null if it is not even planned.
  std::unique_ptr<StoreHandle> BeginPut(const std::vector<TokenId>& tokens) {
    StorePlanOptions options;
    options.provenance = kExactProvenance;
    const auto plan = client_->PlanStore(*model_, tokens, options);
    if (!plan) return nullptr;
    return *client_->Store(*model_, *plan, {}, right_->kv(), right_->blocks());
  }
  StoreReport Put() {
    const auto store = BeginPut(tokens_);
    return store ? store->Wait() : StoreReport{.code = Code::kInternal};
  }
  // Loads all of it and compares every bit.
  LoadReport Load(milliseconds deadline = milliseconds(5000)) {
    TestEngine engine(shape_);
    engine.Poison();
    const LookupResult found = client_->Lookup(*model_, tokens_, {})->Take();
    EXPECT_EQ(found.tokens_matched(), kTokens);
    LoadOptions options;
    const TimePoint begun = std::chrono::steady_clock::now();
    options.deadline = begun + deadline;
    const LoadReport report =
        (*client_->Load(*model_, found, engine.kv(), engine.blocks(), options))->Wait();
    took_ = std::chrono::steady_clock::now() - begun;
    EXPECT_TRUE(engine.SameAs(*right_, report.tokens_loaded));
    return report;
  }
  NodeScript Script(unsigned node) {
    const std::scoped_lock lock(script_->mutex);
    return script_->nodes[NodeId{node}];
  }
  void Conducts(unsigned node, Conduct conduct, int refusals = 0) {
    const std::scoped_lock lock(script_->mutex);
    NodeScript& script = script_->nodes[NodeId{node}];
    script.conduct = conduct;
    script.refusals = refusals;
    script.quiet_since = std::chrono::steady_clock::now();
  }
  [[nodiscard]] bool Shows(const std::string& line) const {
    return client_->Metrics().find(line + "\n") != std::string::npos;
  }

  test::EngineShape shape_;
  const std::vector<TokenId> tokens_ = test::TokensOf(1, kTokens);
  std::shared_ptr<TwoNodes::Script> script_;  // shared with the client's calls
  std::unique_ptr<Client> client_;
  const Model* model_ = nullptr;
  std::unique_ptr<TestEngine> right_;
  Duration took_{};
};

TEST_F(HedgeTest, ASilentNodeCostsOneWaitAndIsThenLeftAloneUntilItAnswers) {
  Open();
  ASSERT_EQ(Put().code, Code::kOk);
  ASSERT_EQ(Load().tokens_loaded, kTokens);
  // Of four chunks each node is the first choice for some, whatever the keys: if not, it is seen.
  const unsigned silent = Script(1).reads > 0 ? 1 : 2;
  Conducts(silent, Conduct::kSilent);
  const LoadReport first = Load();
  EXPECT_EQ(first.tokens_loaded, kTokens);
  EXPECT_GT(first.reads_hedged, 0U);
  EXPECT_LT(took_, milliseconds(1500)) << "a share of the deadline was waited for";
  // From the probe's failure on.
  while (!Shows(R"(kdn_client_breakers{state="open"} 1)")) (void)Load();
  const int reads_before = Script(silent).reads;
  const LoadReport second = Load();
  EXPECT_EQ(second.tokens_loaded, kTokens);
  EXPECT_EQ(second.reads_hedged, 0U);
  EXPECT_EQ(second.replicas_failed_over, 0U);
  EXPECT_EQ(Script(silent).reads, reads_before);

  Conducts(silent, Conduct::kServe);
  const TimePoint until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Script(silent).reads == reads_before && std::chrono::steady_clock::now() < until) {
    EXPECT_EQ(Load().tokens_loaded, kTokens);
  }
  EXPECT_GT(Script(silent).reads, reads_before) << "it was never asked again";
}

TEST_F(HedgeTest, WithoutMemoryForTwoASilentReadIsEndedFirst) {
  ClientOptions options;
  options.staging_bytes = std::size_t{9} << 17;  // one object of about 0.7 MiB, and not two
  shape_.kv_heads = 8;
  Open(options);
  ASSERT_EQ(Put().code, Code::kOk);
  ASSERT_EQ(Load().tokens_loaded, kTokens);
  Conducts(Script(1).reads > 0 ? 1 : 2, Conduct::kSilent);
  const LoadReport report = Load();
  EXPECT_EQ(report.tokens_loaded, kTokens);
  EXPECT_EQ(report.reads_hedged, 0U);
  EXPECT_FALSE(Shows("kdn_client_reads_moved_total 0"));
  EXPECT_LT(took_, milliseconds(1500));
}

TEST_F(HedgeTest, ASlowNodeIsReadBesideButNotGivenUp) {
  Open();
  ASSERT_EQ(Put().code, Code::kOk);
  // Enough for a quantile: what takes longer is late, though the node is not silent.
  for (int i = 0; i < 40; ++i) ASSERT_EQ(Load().tokens_loaded, kTokens);
  Conducts(Script(1).reads > 0 ? 1 : 2, Conduct::kSlow);
  const LoadReport report = Load();
  EXPECT_EQ(report.tokens_loaded, kTokens);
  EXPECT_GT(report.reads_hedged, 0U);
  EXPECT_LT(took_, milliseconds(1500));
  EXPECT_TRUE(Shows("kdn_client_breaker_opened_total 0"));
  EXPECT_FALSE(Shows("kdn_client_hedges_won_total 0"));
}

TEST_F(HedgeTest, TilesOfAReadThatStallsAndOfItsHedgeMakeOneObject) {
  Open();
  ASSERT_EQ(Put().code, Code::kOk);
  for (int i = 0; i < 40; ++i) ASSERT_EQ(Load().tokens_loaded, kTokens);
  Conducts(1, Conduct::kStall);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Load().tokens_loaded, kTokens);
  Conducts(2, Conduct::kStall);
  Conducts(1, Conduct::kServe);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Load().tokens_loaded, kTokens);
}

TEST_F(HedgeTest, WithoutABudgetThereIsNoSecondRequest) {
  ClientOptions options;
  options.retry_percent = 0;
  Open(options);
  ASSERT_EQ(Put().code, Code::kOk);
  Conducts(1, Conduct::kSilent);
  Conducts(2, Conduct::kSilent);
  const LoadReport report = Load(milliseconds(300));
  EXPECT_EQ(report.tokens_loaded, 0U);
  EXPECT_EQ(Script(1).reads + Script(2).reads, 4);
}

TEST_F(HedgeTest, WhenNobodyAnswersALoadIsAMissAtOnceFromTheSecondOn) {
  Open();
  ASSERT_EQ(Put().code, Code::kOk);
  Conducts(1, Conduct::kSilent);
  Conducts(2, Conduct::kSilent);
  // Reads of either, until both are known to be silent.
  while (!Shows(R"(kdn_client_breakers{state="open"} 2)")) (void)Load(milliseconds(200));
  EXPECT_EQ(Load(milliseconds(5000)).tokens_loaded, 0U);
  EXPECT_LT(took_, milliseconds(500));
}

TEST_F(HedgeTest, AnOverloadedNodeIsComeBackToAndNotBefore) {
  Open();
  ASSERT_EQ(Put().code, Code::kOk);
  Conducts(1, Conduct::kOverloaded, 4);
  Conducts(2, Conduct::kOverloaded, 4);
  const LoadReport report = Load();
  EXPECT_EQ(report.tokens_loaded, kTokens);
  EXPECT_EQ(Script(1).too_early, 0);
  EXPECT_EQ(Script(2).too_early, 0);
  EXPECT_GE(took_, milliseconds(30));
  EXPECT_TRUE(Shows("kdn_client_breaker_opened_total 0")) << "pressure is no fault";
  EXPECT_FALSE(Shows("kdn_client_pressure_total 0"));
}

TEST_F(HedgeTest, APutThatIsRefusedForPressureIsSentAgainInTime) {
  Open();
  Conducts(1, Conduct::kOverloaded, 6);
  const StoreReport report = Put();
  EXPECT_EQ(report.code, Code::kOk);
  EXPECT_EQ(report.chunks_stored, 4U);
  EXPECT_EQ(Load().tokens_loaded, kTokens);
}

TEST_F(HedgeTest, WhatASilentNodeWasSentIsTakenBackAndLoadsGoOnMeanwhile) {
  ClientOptions options;
  options.staging_bytes = std::size_t{9} << 18;
  shape_.kv_heads = 8;  // objects of about 0.7 MiB: what is stored would take all there is
  Open(options);
  ASSERT_EQ(Put().code, Code::kOk);
  ASSERT_EQ(Load().tokens_loaded, kTokens);
  Conducts(1, Conduct::kSilent);
  const TimePoint begun = std::chrono::steady_clock::now();
  const auto store = BeginPut(test::TokensOf(2, kTokens));
  ASSERT_TRUE(store);
  // Both replicas of all chunks are asked for first now and then: the breaker opens.
  do {
    const LoadReport report = Load();
    ASSERT_EQ(report.tokens_loaded, kTokens);
    ASSERT_LT(took_, milliseconds(1500)) << "it waited for what the store holds";
  } while (!Shows(R"(kdn_client_breakers{state="open"} 1)"));
  EXPECT_EQ(store->Wait().code, Code::kUnavailable) << "node 1 is the only one that takes puts";
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(8000))
      << "the node was waited for until the deadline of what it was sent";
}

}  // namespace
}  // namespace kdn::client
