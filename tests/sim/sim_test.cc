// The coordinator's core under faults, in virtual time. A failing seed is printed; it joins
// kSeedsThatFailedOnce, which always runs.
#include <gtest/gtest.h>

#include "tests/sim/sim_cluster.h"

namespace kdn::sim {
namespace {

constexpr milliseconds kTrouble{30000};
constexpr std::uint64_t kSeedsThatFailedOnce[] = {1};

void ExpectAllPromisesKept(std::uint64_t seed) {
  SimCluster cluster(seed);
  cluster.Run(kTrouble);
  for (const std::string& what : cluster.broken()) ADD_FAILURE() << "seed " << seed << ", " << what;
}

class SimulatedCluster : public testing::TestWithParam<std::uint64_t> {};

TEST_P(SimulatedCluster, KeepsItsPromises) {
  ExpectAllPromisesKept(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulatedCluster, testing::Range<std::uint64_t>(100, 130));
INSTANTIATE_TEST_SUITE_P(SeedsThatFailedOnce, SimulatedCluster,
                         testing::ValuesIn(kSeedsThatFailedOnce));

TEST(Simulation, TheSameSeedGivesTheSameRun) {
  SimCluster first(7);
  SimCluster second(7);
  SimCluster other(8);
  first.Run(kTrouble);
  second.Run(kTrouble);
  other.Run(kTrouble);
  EXPECT_EQ(first.trace_hash(), second.trace_hash());
  EXPECT_NE(first.trace_hash(), other.trace_hash());
}

// A simulation in which nothing happens proves nothing.
TEST(Simulation, IsWorthWatching) {
  std::size_t chunks = 0;
  std::size_t contexts = 0;
  std::size_t reigns = 0;
  for (std::uint64_t seed = 200; seed < 205; ++seed) {
    SimCluster cluster(seed);
    cluster.Run(kTrouble);
    chunks += cluster.acknowledged_chunks();
    contexts += cluster.acknowledged_contexts();
    reigns += cluster.reigns();
  }
  EXPECT_GE(chunks, 100U);
  EXPECT_GE(contexts, 10U);
  EXPECT_GE(reigns, 15U);
}

}  // namespace
}  // namespace kdn::sim
