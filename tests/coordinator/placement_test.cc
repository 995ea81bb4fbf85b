// What every placement policy promises, asked of each of them, and what the rendezvous one adds.
#include "coordinator/placement/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/coordinator/core_world.h"

namespace kdn::coordinator {
namespace {

std::vector<PlacementNode> Nodes(std::size_t count, std::uint64_t weight = 1000) {
  std::vector<PlacementNode> nodes;
  for (std::uint32_t i = 1; i <= count; ++i) {
    nodes.push_back({NodeId{i}, NumberedId<HostId>(i), weight});
  }
  return nodes;
}

class PlacementTest : public testing::TestWithParam<std::string> {
 protected:
  std::vector<NodeId> Place(std::uint64_t key, std::uint32_t replicas,
                            const std::vector<PlacementNode>& nodes,
                            const std::vector<NodeId>& near = {}) {
    return policy_->Place({NumberedKey(key), near, replicas}, nodes);
  }

  std::unique_ptr<PlacementPolicy> policy_ = MakePlacementPolicy(GetParam()).value();
};

TEST_P(PlacementTest, ReplicasAreOnDistinctNodes) {
  for (std::uint64_t key = 0; key < 200; ++key) {
    const auto placed = Place(key, 3, Nodes(5));
    EXPECT_EQ(std::set<NodeId>(placed.begin(), placed.end()).size(), 3U);
  }
}

TEST_P(PlacementTest, FewerNodesThanReplicasAreAllUsed) {
  EXPECT_EQ(Place(1, 3, Nodes(2)).size(), 2U);
  EXPECT_TRUE(Place(1, 3, {}).empty());
}

TEST_P(PlacementTest, DistinctHostsArePreferred) {
  std::vector<PlacementNode> nodes = Nodes(4);
  nodes[1].host = nodes[2].host = nodes[0].host;
  for (std::uint64_t key = 0; key < 100; ++key) {
    const auto placed = Place(key, 2, nodes);
    EXPECT_NE(std::ranges::find(placed, NodeId{4}), placed.end()) << "the only other host";
  }
}

TEST_P(PlacementTest, OnOneHostReplicasAreStillMade) {
  std::vector<PlacementNode> nodes = Nodes(3);
  for (PlacementNode& node : nodes) node.host = HostId{};
  EXPECT_EQ(Place(1, 2, nodes).size(), 2U);
}

TEST_P(PlacementTest, NodesGetSharesByTheirRoom) {
  std::vector<PlacementNode> nodes = Nodes(3);
  nodes[2].weight = 2000;
  std::map<NodeId, int> first;
  for (std::uint64_t key = 0; key < 4000; ++key) ++first[Place(key, 1, nodes)[0]];
  EXPECT_NEAR(first[NodeId{3}], 2000, 200);
  EXPECT_NEAR(first[NodeId{1}], 1000, 200);
}

TEST_P(PlacementTest, ANodeWithoutRoomGetsNothing) {
  std::vector<PlacementNode> nodes = Nodes(3);
  nodes[0].weight = 0;
  for (std::uint64_t key = 0; key < 100; ++key) {
    const auto placed = Place(key, 3, nodes);
    EXPECT_EQ(std::ranges::find(placed, NodeId{1}), placed.end());
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, PlacementTest, testing::Values("rendezvous"),
                         [](const auto& kind) { return kind.param; });

class RendezvousTest : public PlacementTest {};

TEST_P(RendezvousTest, ANodeThatLeavesMovesOnlyItsOwnShare) {
  const auto all = Nodes(5);
  std::vector<PlacementNode> fewer(all.begin(), all.end() - 1);
  for (std::uint64_t key = 0; key < 500; ++key) {
    const auto before = Place(key, 1, all);
    if (before[0] == NodeId{5}) continue;
    EXPECT_EQ(Place(key, 1, fewer), before);
  }
}

TEST_P(RendezvousTest, ARunStaysNearTheChunkBeforeIt) {
  for (std::uint64_t key = 0; key < 100; ++key) {
    const auto placed = Place(key, 2, Nodes(6), {NodeId{2}, NodeId{5}});
    EXPECT_EQ(std::set<NodeId>(placed.begin(), placed.end()), (std::set{NodeId{2}, NodeId{5}}));
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, RendezvousTest, testing::Values("rendezvous"),
                         [](const auto& kind) { return kind.param; });

TEST(PlacementPolicies, AnUnknownNameIsNotFound) {
  EXPECT_EQ(MakePlacementPolicy("best").error().code(), Code::kNotFound);
}

// A chain that grows by one chunk at a time lies in runs, as one that comes at once does.
TEST(PlacementOfChains, AGrowingChainIsReadFromFewNodes) {
  CoreWorld world;
  std::vector<NodeId> ids;
  for (std::uint64_t i = 1; i <= 8; ++i) ids.push_back(world.AddNode(i));
  std::vector<std::vector<NodeId>> placed;
  wire::PutStartRequest chain = CoreWorld::Chain(1, 128);
  for (const auto& chunk : chain.chunks) {
    wire::PutStartRequest one = chain;
    one.chunks = {chunk};
    one.head.trace = NumberedId<TraceId>(placed.size() + 1);
    const auto grant = world.core->PutStart(kTestTenant, one, world.now).grants.at(0);
    world.Commit(CoreWorld::CommitOf(grant, {chunk.key}, grant.nodes));
    world.AnswerCommits();
    (void)world.TakeCommitted();
    placed.push_back(grant.nodes);
    std::ranges::sort(placed.back());
  }
  std::size_t runs = 1;
  for (std::size_t i = 1; i < placed.size(); ++i) runs += placed[i] != placed[i - 1] ? 1U : 0U;
  EXPECT_LE(runs, 16U);
  EXPECT_GE(runs, 2U) << "and does not stay on two nodes for ever";
}

}  // namespace
}  // namespace kdn::coordinator
