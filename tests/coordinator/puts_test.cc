#include "coordinator/core/puts.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/limits.h"
#include "proto/wire/ticket.h"
#include "tests/coordinator/core_world.h"

namespace kdn::coordinator {
namespace {

using std::chrono::milliseconds;
using wire::CommitState;
using wire::PutVerdict;

class PutsTest : public testing::Test {
 protected:
  PutsTest() {
    for (std::uint64_t i = 1; i <= 3; ++i) world_.AddNode(i);
  }

  // Starts a put of a chain that goes into one ticket.
  wire::PutGrant Grant(const wire::PutStartRequest& request) {
    wire::PutStartResponse response = world_.core->PutStart(kTestTenant, request, world_.now);
    EXPECT_EQ(response.grants.size(), 1U);
    return response.grants.at(0);
  }
  wire::PutVerdict VerdictOf(const wire::PutStartRequest& request) {
    return world_.core->PutStart(kTestTenant, request, world_.now).verdicts.at(0);
  }
  std::size_t DropsOut() {
    std::size_t drops = 0;
    for (const NodeCall& call : world_.actions.calls) {
      const auto* drop = std::get_if<wire::DropObjectsRequest>(&call.request);
      if (drop != nullptr) drops += drop->objects.size();
    }
    return drops;
  }

  void HearFromAllNodes() {
    for (std::uint32_t node = 1; node <= 3; ++node) {
      ASSERT_TRUE(world_.core->OnBeat({.node = NodeId{node}}, world_.now).has_value());
    }
  }

  CoreWorld world_;
};

TEST_F(PutsTest, ALongChainIsCutIntoTicketsOfThirtyTwoChunks) {
  const auto response = world_.core->PutStart(kTestTenant, CoreWorld::Chain(1, 70), world_.now);
  ASSERT_EQ(response.grants.size(), 3U);
  for (std::size_t i = 0; i < 70; ++i) {
    EXPECT_EQ(response.verdicts[i], PutVerdict::kStore);
    EXPECT_EQ(response.grant_of[i], i / 32);
  }
  const auto ticket = wire::OpenTicket(response.grants[0].ticket,
                                       HmacKey(std::vector<std::byte>(32, std::byte{0x5A})));
  ASSERT_TRUE(ticket.has_value());
  EXPECT_EQ(ticket->put_id, response.grants[0].put_id);
  EXPECT_EQ(ticket->keys.size(), 32U);
  EXPECT_EQ(ticket->nodes.size(), 2U);
  EXPECT_EQ(ticket->tenant, kTestTenant);
}

TEST(Puts, AGrantOfTooFewNodesTellsHowManyWereWanted) {
  CoreWorld world;
  world.AddNode(1);
  wire::PutStartRequest request = CoreWorld::Chain(1, 1);
  request.replicas = 3;
  const auto grants = world.core->PutStart(kTestTenant, request, world.now).grants;
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].nodes.size(), 1U);
  EXPECT_EQ(grants[0].replicas, 3);
}

TEST_F(PutsTest, NothingIsVisibleBeforeANodeConfirmedTheCommit) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
  EXPECT_TRUE(world_.actions.answers.empty());
  world_.AnswerCommits();
  const auto response = world_.TakeCommitted();
  EXPECT_EQ(response.objects[0].state, CommitState::kVisible);
  EXPECT_EQ(response.objects[0].replicas, 2);
  EXPECT_EQ(response.objects[0].replicas_on_disk, 2);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(PutsTest, TwoWritersOfTwoPartsMakeOneChunkVisible) {
  const auto grant = Grant(CoreWorld::Chain(1, 1, 2));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes, 0, 2));
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kPending);
  EXPECT_TRUE(world_.actions.calls.empty());
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes, 1, 2));
  EXPECT_EQ(world_.actions.calls.size(), 2U);
  world_.AnswerCommits();
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kVisible);
  // The first writer asks again and hears that it is done.
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes, 0, 2));
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kVisible);
  EXPECT_TRUE(world_.actions.calls.empty());
}

TEST_F(PutsTest, OneReplicaOfEachPartIsEnough) {
  const auto grant = Grant(CoreWorld::Chain(1, 1, 2));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, {grant.nodes[0]}, 0, 2));
  (void)world_.TakeCommitted();
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, {grant.nodes[1]}, 1, 2));
  world_.AnswerCommits();
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kVisible);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(PutsTest, ACommitThatNoNodeConfirmsFailsAndIsTakenBack) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  world_.AnswerCommits(Code::kNotFound);
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
  EXPECT_EQ(DropsOut(), 2U);
  EXPECT_EQ(VerdictOf(CoreWorld::Chain(1, 1)), PutVerdict::kStore) << "it may be stored again";
}

TEST_F(PutsTest, WhyACommitFailedIsToldToThoseWhoUnderstandIt) {
  for (const Code refused : {Code::kResourceExhausted, Code::kUnavailable}) {
    for (const std::uint16_t version : {1, 2}) {
      const auto grant = Grant(CoreWorld::Chain(1, 1));
      auto request = CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes);
      request.head.version = version;
      world_.Commit(request);
      world_.AnswerCommits(refused);
      const auto response = world_.TakeCommitted();
      EXPECT_EQ(response.objects[0].state, CommitState::kFailed);
      EXPECT_EQ(response.objects[0].code, version == 1 ? Code::kOk : refused);
    }
  }
}

TEST_F(PutsTest, LargeObjectsAreCommittedAFewACall) {
  std::vector<ChunkKey> keys;
  for (std::uint64_t i = 1; i <= 8; ++i) keys.push_back(NumberedKey(i));
  const auto grant = Grant(CoreWorld::Chain(1, 8));
  auto request = CoreWorld::CommitOf(grant, keys, grant.nodes);
  for (auto& object : request.objects) {
    object.level_bytes[static_cast<std::size_t>(Level::kExact)] = 3 * limits::kMiB;
  }
  world_.Commit(request);
  std::map<NodeId, std::size_t> objects;
  for (const NodeCall& call : world_.actions.calls) {
    const auto& commit = std::get<wire::CommitObjectsRequest>(call.request);
    EXPECT_GE(commit.objects.size(), 1U);
    EXPECT_LE(commit.objects.size(), 2U);
    objects[call.node] += commit.objects.size();
  }
  EXPECT_EQ(objects.size(), 2U);
  for (const auto& [node, count] : objects) EXPECT_EQ(count, 8U);
  world_.AnswerCommits();
  for (const auto& object : world_.TakeCommitted().objects) {
    EXPECT_EQ(object.state, CommitState::kVisible);
    EXPECT_EQ(object.replicas, 2);
  }
}

TEST_F(PutsTest, ANodeThatWritesForLongIsAskedAgainAndNothingIsTakenBack) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  for (int i = 0; i < 20; ++i) {
    world_.Advance(milliseconds(2000));
    HearFromAllNodes();
    world_.FailCommitCalls(Code::kDeadlineExceeded);
    EXPECT_TRUE(world_.actions.answers.empty());
    EXPECT_EQ(DropsOut(), 0U);
  }
  EXPECT_EQ(world_.actions.calls.size(), 2U);
  world_.AnswerCommits();
  const auto response = world_.TakeCommitted();
  EXPECT_EQ(response.objects[0].state, CommitState::kVisible);
  EXPECT_EQ(response.objects[0].replicas, 2);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(PutsTest, ANodeThatNeverAnswersIsNotAskedForever) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  int asked = 0;
  while (world_.actions.answers.empty()) {
    ASSERT_LT(++asked, 100);
    world_.FailCommitCalls(Code::kDeadlineExceeded);
  }
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
}

TEST_F(PutsTest, ANodeThatDiesBeforeItAnswersIsNotAskedAgain) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  world_.Advance(milliseconds(3100));
  world_.FailCommitCalls(Code::kDeadlineExceeded);
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
}

TEST_F(PutsTest, WhatANodeSaysIsGoneBeforeItsCommitIsAnsweredIsNoLocation) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  wire::InventoryEntry gone;
  gone.tenant = kTestTenant;
  gone.key = NumberedKey(1);
  gone.put_id = grant.put_id;
  ASSERT_TRUE(
      world_.core
          ->OnInventory({.node = grant.nodes[0], .sequence = 1, .entries = {gone}}, world_.now)
          .has_value());
  world_.AnswerCommits();
  EXPECT_EQ(world_.TakeCommitted().objects[0].replicas, 1);
  wire::ChunkLocation location;
  ASSERT_TRUE(world_.core->directory().Find({.tenant = kTestTenant}, NumberedKey(1), location));
  ASSERT_EQ(location.parts[0].replicas.size(), 1U);
  EXPECT_EQ(location.parts[0].replicas[0].node, grant.nodes[1]);
}

TEST_F(PutsTest, PartsThatOverlapOrLeaveAGapNeverMakeAChunk) {
  struct Shapes {
    PartShape first;
    PartShape second;
    CommitState state;
  };
  const Range all{0, 4};
  const Shapes cases[] = {
      {{.layers = {0, 2}, .kv_heads = all},
       {.layers = {2, 2}, .kv_heads = all},
       CommitState::kVisible},
      {{.layers = all, .kv_heads = {2, 2}},
       {.layers = all, .kv_heads = {0, 2}},
       CommitState::kVisible},
      {{.layers = {0, 2}, .kv_heads = {0, 8}},
       {.layers = {2, 2}, .kv_heads = all},
       CommitState::kVisible},
      {{.layers = all, .kv_heads = {0, 2}},
       {.layers = all, .kv_heads = {0, 2}},
       CommitState::kFailed},
      {{.layers = all, .kv_heads = {0, 2}},
       {.layers = {3, 1}, .kv_heads = {1, 3}},
       CommitState::kFailed},
      {{.layers = all, .kv_heads = {0, 2}},
       {.layers = all, .kv_heads = {3, 1}},
       CommitState::kFailed},
      {{.layers = {0, 2}, .kv_heads = all},
       {.layers = {3, 1}, .kv_heads = all},
       CommitState::kFailed},
      {{.layers = {1, 1}, .kv_heads = all},
       {.layers = {2, 2}, .kv_heads = all},
       CommitState::kFailed},
      {{.layers = all, .kv_heads = all}, {.layers = {4, 0}, .kv_heads = all}, CommitState::kFailed},
  };
  std::uint64_t number = 100;
  for (const Shapes& shapes : cases) {
    SCOPED_TRACE(number);
    const auto grant = Grant(CoreWorld::Chain(++number, 1, 2));
    for (const std::uint16_t part : {0, 1}) {
      auto request = CoreWorld::CommitOf(grant, {NumberedKey(number)}, {grant.nodes[0]}, part, 2);
      PartShape& shape = request.objects[0].shape;
      shape = part == 0 ? shapes.first : shapes.second;
      shape.number = part;
      shape.count = 2;
      world_.Commit(request);
      world_.AnswerCommits();
      EXPECT_EQ(world_.TakeCommitted().objects[0].state,
                part == 0 ? CommitState::kPending : shapes.state);
    }
    EXPECT_EQ(world_.LookupLength({NumberedKey(number)}),
              shapes.state == CommitState::kVisible ? 1U : 0U);
  }
}

TEST_F(PutsTest, AnOnlyPartThatDoesNotBeginAtTheFirstLayerIsNoChunk) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  auto request = CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes);
  request.objects[0].shape.layers = {2, 2};
  world_.Commit(request);
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
}

TEST_F(PutsTest, ATenantThatHoldsItsShareOfOpenPutsIsRefusedAndOthersAreNot) {
  CoreWorld world({.puts = {.puts_open_per_tenant_max = 2}});
  world.AddNode(1);
  const auto verdict = [&](TenantId tenant, std::uint64_t first) {
    return world.core->PutStart(tenant, CoreWorld::Chain(first, 1), world.now).verdicts.at(0);
  };
  EXPECT_EQ(verdict(kTestTenant, 1), PutVerdict::kStore);
  EXPECT_EQ(verdict(kTestTenant, 2), PutVerdict::kStore);
  EXPECT_EQ(verdict(kTestTenant, 3), PutVerdict::kRefused);
  EXPECT_EQ(verdict(TenantId{8}, 3), PutVerdict::kStore);
  world.Advance(milliseconds(9100));
  ASSERT_TRUE(world.core->OnBeat({.node = NodeId{1}}, world.now).has_value());
  EXPECT_EQ(verdict(kTestTenant, 3), PutVerdict::kStore);
}

TEST_F(PutsTest, WhatIsPresentAtThatProvenanceIsNotStoredAgain) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  world_.AnswerCommits();
  wire::PutStartRequest again = CoreWorld::Chain(1, 1);
  again.head.trace = NumberedId<TraceId>(5);
  EXPECT_EQ(VerdictOf(again), PutVerdict::kPresent);
}

TEST_F(PutsTest, ABetterProvenanceReplacesAWorseOne) {
  wire::PutStartRequest worse = CoreWorld::Chain(1, 1);
  worse.provenance = {};
  const auto first = Grant(worse);
  world_.Commit(CoreWorld::CommitOf(first, {NumberedKey(1)}, first.nodes));
  world_.AnswerCommits();
  (void)world_.TakeCommitted();
  const auto second = Grant(CoreWorld::Chain(1, 1));
  world_.Commit(CoreWorld::CommitOf(second, {NumberedKey(1)}, second.nodes));
  world_.AnswerCommits();
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kVisible);
  EXPECT_EQ(DropsOut(), 2U) << "the worse one on both its nodes";
  wire::ChunkLocation location;
  ASSERT_TRUE(world_.core->directory().Find({.tenant = kTestTenant}, NumberedKey(1), location));
  EXPECT_EQ(location.put_id, second.put_id);
}

TEST_F(PutsTest, AnotherPutOfTheSameKeyIsBusyAndARepeatedOneGetsItsTicketAgain) {
  const auto grant = Grant(CoreWorld::Chain(1, 2));
  wire::PutStartRequest other = CoreWorld::Chain(1, 2);
  other.head.trace = NumberedId<TraceId>(5);
  EXPECT_EQ(VerdictOf(other), PutVerdict::kBusy);
  EXPECT_EQ(Grant(CoreWorld::Chain(1, 2)), grant);
}

TEST_F(PutsTest, AnotherTenantsKeysAreNoneOfItsBusiness) {
  (void)Grant(CoreWorld::Chain(1, 1));
  const auto response = world_.core->PutStart(TenantId{8}, CoreWorld::Chain(1, 1), world_.now);
  EXPECT_EQ(response.verdicts[0], PutVerdict::kStore);
}

TEST_F(PutsTest, AnAbandonedPutIsTakenBackAfterItsExpiry) {
  (void)Grant(CoreWorld::Chain(1, 2));
  world_.Advance(milliseconds(8900));
  EXPECT_EQ(DropsOut(), 0U);
  // Silent nodes are dead by then, and dead ones are told nothing: let them speak first.
  for (std::uint32_t node = 1; node <= 3; ++node) {
    ASSERT_TRUE(world_.core->OnBeat({.node = NodeId{node}}, world_.now).has_value());
  }
  world_.Advance(milliseconds(200));
  EXPECT_EQ(DropsOut(), 4U);
  EXPECT_EQ(world_.core->puts().open_count(), 0U);
  EXPECT_EQ(world_.core->puts().counts().expired, 1U);
}

TEST_F(PutsTest, AWriterThatKeepsAskingKeepsOnlyItsOwnPutOpen) {
  const auto kept = Grant(CoreWorld::Chain(1, 1, 2));
  (void)Grant(CoreWorld::Chain(50, 1));
  world_.Advance(milliseconds(8900));
  world_.actions.Clear();
  world_.Commit(CoreWorld::CommitOf(kept, {NumberedKey(1)}, kept.nodes, 0, 2));
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kPending);
  world_.Advance(milliseconds(200));
  EXPECT_EQ(world_.core->puts().open_count(), 1U);
  world_.Advance(milliseconds(1000));
  EXPECT_EQ(world_.core->puts().open_count(), 0U);
}

TEST_F(PutsTest, ACommitAfterTheExpiryIsRefused) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Advance(milliseconds(9100));
  world_.actions.Clear();
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  EXPECT_EQ(world_.TakeAnswer().body.error().code(), Code::kAborted);
}

TEST_F(PutsTest, ACommitRepeatedAfterThePutWasForgottenIsStillVisible) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  const auto request = CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes);
  world_.Commit(request);
  world_.AnswerCommits();
  (void)world_.TakeCommitted();
  for (int i = 0; i < 120; ++i) {
    world_.Advance(milliseconds(100));
    for (std::uint32_t node = 1; node <= 3; ++node) {
      ASSERT_TRUE(world_.core->OnBeat({.node = NodeId{node}}, world_.now).has_value());
    }
  }
  EXPECT_EQ(world_.core->puts().open_count(), 0U);
  world_.actions.Clear();
  world_.Commit(request);
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kVisible);
}

TEST_F(PutsTest, ATicketOfAnEarlierEpochIsWorthNothing) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Restart();
  for (std::uint64_t i = 1; i <= 3; ++i) world_.AddNode(i);
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  EXPECT_EQ(world_.TakeAnswer().body.error().code(), Code::kAborted);
}

TEST_F(PutsTest, AForgedOrForeignTicketIsRefused) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  auto forged = CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes);
  forged.ticket.back() ^= std::byte{1};
  world_.Commit(forged);
  EXPECT_EQ(world_.TakeAnswer().body.error().code(), Code::kPermissionDenied);
  world_.core->PutCommit(TenantId{8}, CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes),
                         world_.NewReply(), world_.now, world_.actions);
  EXPECT_EQ(world_.TakeAnswer().body.error().code(), Code::kPermissionDenied);
}

TEST_F(PutsTest, TwoDigestsOfOnePartNeverBothCount) {
  const auto grant = Grant(CoreWorld::Chain(1, 1, 2));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, {grant.nodes[0]}, 0, 2));
  (void)world_.TakeCommitted();
  auto other = CoreWorld::CommitOf(grant, {NumberedKey(1)}, {grant.nodes[1]}, 0, 2);
  other.objects[0].acks[0].digest = CoreWorld::DigestOf(NumberedKey(2), 0);
  world_.Commit(other);
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
}

TEST_F(PutsTest, ANodeThatIsNotOnTheTicketCannotAcknowledge) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  const std::set<NodeId> on_ticket(grant.nodes.begin(), grant.nodes.end());
  NodeId stranger{1};
  while (on_ticket.contains(stranger)) {
    stranger = static_cast<NodeId>(static_cast<std::uint32_t>(stranger) + 1);
  }
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, {stranger}));
  EXPECT_EQ(world_.TakeCommitted().objects[0].state, CommitState::kFailed);
}

TEST_F(PutsTest, AnAbortedPutFreesItsKeysAtOnce) {
  const auto grant = Grant(CoreWorld::Chain(1, 2));
  wire::PutAbortRequest abort;
  abort.ticket = grant.ticket;
  ASSERT_TRUE(world_.core->PutAbort(kTestTenant, abort, world_.actions).ok());
  EXPECT_EQ(DropsOut(), 4U);
  wire::PutStartRequest again = CoreWorld::Chain(1, 2);
  again.head.trace = NumberedId<TraceId>(5);
  EXPECT_EQ(VerdictOf(again), PutVerdict::kStore);
  ASSERT_TRUE(world_.core->PutAbort(kTestTenant, abort, world_.actions).ok()) << "idempotent";
}

TEST_F(PutsTest, WithoutANodeAPutIsRefused) {
  world_.Advance(milliseconds(5000));
  EXPECT_EQ(VerdictOf(CoreWorld::Chain(1, 1)), PutVerdict::kRefused);
}

TEST_F(PutsTest, AReplicaThatIsDeadWhenTheCommitComesDoesNotHoldItUp) {
  const auto grant = Grant(CoreWorld::Chain(1, 1));
  world_.Advance(milliseconds(2900));
  ASSERT_TRUE(world_.core->OnBeat({.node = grant.nodes[1]}, world_.now).has_value());
  world_.Advance(milliseconds(200));
  ASSERT_FALSE(world_.core->membership().IsAlive(grant.nodes[0]));
  world_.Commit(CoreWorld::CommitOf(grant, {NumberedKey(1)}, grant.nodes));
  ASSERT_EQ(world_.actions.calls.size(), 1U);
  world_.AnswerCommits();
  const auto response = world_.TakeCommitted();
  EXPECT_EQ(response.objects[0].state, CommitState::kVisible);
  EXPECT_EQ(response.objects[0].replicas, 1);
}

}  // namespace
}  // namespace kdn::coordinator
