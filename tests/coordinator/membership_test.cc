#include "coordinator/core/membership.h"

#include <gtest/gtest.h>

#include "tests/coordinator/core_world.h"

namespace kdn::coordinator {
namespace {

using std::chrono::milliseconds;

wire::InventoryEntry EntryOf(std::uint64_t key) {
  wire::InventoryEntry entry;
  entry.tenant = kTestTenant;
  entry.key = NumberedKey(key);
  entry.put_id = NumberedId<PutId>(key);
  entry.token_count = 256;
  entry.provenance = kExactProvenance;
  entry.level_bytes[3] = 100;
  entry.on_disk = Level::kExact;
  return entry;
}

class MembershipTest : public testing::Test {
 protected:
  // Whether the node should send a full inventory.
  bool Beat(NodeId node) { return world_.core->OnBeat({.node = node}, world_.now).value(); }
  bool Report(NodeId node, std::uint64_t sequence, const std::vector<std::uint64_t>& keys,
              bool full = true, bool first = true, bool last = true) {
    InventoryBatch batch{node, full, full && first, full && last, sequence, {}};
    for (const std::uint64_t key : keys) batch.entries.push_back(EntryOf(key));
    return world_.core->OnInventory(batch, world_.now).value();
  }

  CoreWorld world_;
};

TEST_F(MembershipTest, ANodeKeepsItsIdOverReignsAndNoOtherEverGetsIt) {
  const NodeId first = world_.AddNode(1);
  const NodeId second = world_.AddNode(2);
  EXPECT_NE(first, second);
  world_.Restart();
  const NodeId third = world_.AddNode(3);
  EXPECT_EQ(world_.AddNode(1), first);
  EXPECT_EQ(world_.AddNode(2), second);
  EXPECT_NE(third, first);
  EXPECT_NE(third, second);
}

TEST_F(MembershipTest, AnIdIsOnDiskBeforeAnybodyHearsOfIt) {
  world_.core->Register(CoreWorld::Describe(1), world_.NewReply(), world_.now, world_.actions);
  EXPECT_TRUE(world_.actions.answers.empty());
  ASSERT_EQ(world_.actions.writes.size(), 1U);
  world_.WriteAll();
  EXPECT_TRUE(world_.TakeAnswer().body.has_value());
}

TEST_F(MembershipTest, ANodeIsNotRegisteredIfItsIdCannotBeWritten) {
  world_.store.failing = true;
  EXPECT_FALSE(world_.Register(CoreWorld::Describe(1)).has_value());
  EXPECT_TRUE(world_.core->membership().map().nodes.empty());
}

TEST_F(MembershipTest, ANodeThatObeysALaterCoordinatorIsRefused) {
  NodeDescription node = CoreWorld::Describe(1);
  node.epoch_seen = Epoch{2};
  EXPECT_EQ(world_.Register(node).error().code(), Code::kFailedPrecondition);
  world_.Restart();
  EXPECT_TRUE(world_.Register(node).has_value());
}

TEST_F(MembershipTest, ANodeOfAnotherClusterIsRefused) {
  NodeDescription node = CoreWorld::Describe(1);
  node.cluster = NumberedId<ClusterId>(3);
  EXPECT_EQ(world_.Register(node).error().code(), Code::kFailedPrecondition);
}

TEST_F(MembershipTest, SilenceForThreeSecondsIsDeathAndABeatIsReturn) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {1});
  const std::uint64_t version = world_.core->membership().map().version;
  world_.Advance(milliseconds(3000));
  EXPECT_TRUE(world_.core->membership().IsAlive(node));
  world_.Advance(milliseconds(1));
  EXPECT_FALSE(world_.core->membership().IsAlive(node));
  EXPECT_GT(world_.core->membership().map().version, version);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
  EXPECT_FALSE(Beat(node)) << "what it holds is still known";
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(MembershipTest, ADeadNodeThatHasNotHeardTheCoordinatorSinceStaysDead) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {1});
  world_.Advance(milliseconds(3001));
  const auto beat_of = [&](milliseconds ago) {
    return world_.core->OnBeat({.node = node, .heard_ago = ago}, world_.now).has_value();
  };
  // What it sent while nothing came through arrives when the network is whole again.
  EXPECT_TRUE(beat_of(milliseconds(2900)));
  EXPECT_FALSE(world_.core->membership().IsAlive(node));
  EXPECT_TRUE(Report(node, 2, {2}, false)) << "it is to tell all once it is there";
  EXPECT_FALSE(world_.core->membership().IsAlive(node));
  EXPECT_TRUE(beat_of(milliseconds(500)));
  EXPECT_TRUE(world_.core->membership().IsAlive(node));
  EXPECT_FALSE(Report(node, 3, {1, 2}));
  EXPECT_EQ(world_.LookupLength({NumberedKey(1), NumberedKey(2)}), 2U);
}

TEST_F(MembershipTest, ANodeThatWasDeadForLongMustReportAnew) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {1});
  world_.Advance(milliseconds(61000));
  EXPECT_TRUE(Beat(node));
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
  EXPECT_FALSE(Report(node, 1, {1}));
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(MembershipTest, AnUnknownNodeIsToldToRegister) {
  EXPECT_EQ(world_.core->OnBeat({.node = NodeId{9}}, world_.now).error().code(), Code::kNotFound);
}

TEST_F(MembershipTest, AGapInTheSequenceAsksForAFullInventory) {
  const NodeId node = world_.AddNode(1);
  EXPECT_TRUE(Beat(node));
  EXPECT_FALSE(Report(node, 1, {1}));
  EXPECT_FALSE(Beat(node));
  EXPECT_FALSE(Report(node, 2, {2}, false));
  EXPECT_TRUE(Report(node, 4, {4}, false));
  EXPECT_TRUE(Beat(node));
  EXPECT_FALSE(Report(node, 5, {4, 5}));
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U) << "the full report did not name it";
  EXPECT_EQ(world_.LookupLength({NumberedKey(5)}), 1U);
}

TEST_F(MembershipTest, ARepeatedBatchChangesNothing) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {1});
  EXPECT_FALSE(Report(node, 2, {2}, false));
  EXPECT_FALSE(Report(node, 1, {}));  // the first full report once more, late and empty
  EXPECT_EQ(world_.LookupLength({NumberedKey(1), NumberedKey(2)}), 2U);
}

TEST_F(MembershipTest, AReportInSeveralBatchesCountsFromItsEnd) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {1, 2});
  Report(node, 2, {2}, true, true, false);
  EXPECT_FALSE(Beat(node)) << "one is under way";
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
  Report(node, 3, {3}, true, false, true);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
  EXPECT_EQ(world_.LookupLength({NumberedKey(2), NumberedKey(3)}), 2U);
}

// It commits a chunk, dies before its first report, and comes back with nothing.
TEST_F(MembershipTest, WhatANodeLostBeforeItsFirstReportIsForgottenWithTheNextOne) {
  const NodeId node = world_.AddNode(1);
  const auto started = world_.core->PutStart(kTestTenant, CoreWorld::Chain(1, 1), world_.now);
  world_.Commit(CoreWorld::CommitOf(started.grants.at(0), {NumberedKey(1)}, {node}));
  world_.AnswerCommits();
  (void)world_.TakeCommitted();
  EXPECT_EQ(world_.AddNode(1), node);
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
  Report(node, 1, {});
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 0U);
}

// The second report was on its way, or begun by the node itself, when the chunk was committed.
TEST_F(MembershipTest, WhatIsCommittedBetweenTwoReportsOutlastsTheSecond) {
  const NodeId node = world_.AddNode(1);
  Report(node, 1, {});
  const auto started = world_.core->PutStart(kTestTenant, CoreWorld::Chain(1, 1), world_.now);
  world_.Commit(CoreWorld::CommitOf(started.grants.at(0), {NumberedKey(1)}, {node}));
  world_.AnswerCommits();
  (void)world_.TakeCommitted();
  Report(node, 2, {});
  EXPECT_EQ(world_.LookupLength({NumberedKey(1)}), 1U);
}

TEST_F(MembershipTest, InventoriesAreCompleteWhenAllNodesOfTheLastReignHaveReported) {
  const NodeId first = world_.AddNode(1);
  const NodeId second = world_.AddNode(2);
  world_.Restart();
  const auto complete = [&] { return world_.core->membership().InventoriesComplete(world_.now); };
  EXPECT_FALSE(complete());
  world_.AddNode(1);
  world_.AddNode(2);
  Report(first, 1, {});
  EXPECT_FALSE(complete());
  Report(second, 1, {});
  EXPECT_TRUE(complete());
}

TEST_F(MembershipTest, InventoriesOfNodesThatDoNotComeAreGivenUpAfterThreeSeconds) {
  world_.AddNode(1);
  world_.Restart();
  world_.Advance(milliseconds(3000));
  EXPECT_FALSE(world_.core->membership().InventoriesComplete(world_.now));
  world_.Advance(milliseconds(1));
  EXPECT_TRUE(world_.core->membership().InventoriesComplete(world_.now));
}

// However late it came: until its report is here, what it holds looks lost.
TEST_F(MembershipTest, TheInventoryOfANodeThatIsAliveIsNeverGivenUp) {
  world_.AddNode(1);
  world_.Restart();
  world_.Advance(milliseconds(3001));
  const NodeId node = world_.AddNode(1);
  const auto complete = [&] { return world_.core->membership().InventoriesComplete(world_.now); };
  EXPECT_FALSE(complete());
  Report(node, 1, {});
  EXPECT_TRUE(complete());
}

TEST_F(MembershipTest, EveryReignHasAHigherEpochAndMapVersion) {
  std::uint64_t version = world_.core->membership().map().version;
  Epoch epoch = world_.core->epoch();
  for (int i = 0; i < 5; ++i) {
    world_.Restart();
    EXPECT_GT(world_.core->epoch(), epoch);
    EXPECT_GT(world_.core->membership().map().version, version);
    epoch = world_.core->epoch();
    version = world_.core->membership().map().version;
  }
}

}  // namespace
}  // namespace kdn::coordinator
