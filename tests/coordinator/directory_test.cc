#include "coordinator/core/directory.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/random.h"
#include "tests/coordinator/directory_model.h"

namespace kdn::coordinator {
namespace {

constexpr TenantId kTenant{7};
constexpr NodeId kNode{1};

ChunkKey KeyOf(std::uint64_t number) {
  SeededRandom random(number);
  return RandomId<ChunkKey>(random);
}

PutId PutOf(std::uint64_t number) {
  SeededRandom random(~number);
  return RandomId<PutId>(random);
}

wire::InventoryEntry EntryOf(std::uint64_t key, std::uint64_t put = 1) {
  wire::InventoryEntry entry;
  entry.tenant = kTenant;
  entry.key = KeyOf(key);
  entry.put_id = PutOf(put);
  entry.token_count = 256;
  entry.provenance = kExactProvenance;
  entry.level_bytes[static_cast<std::size_t>(Level::kExact)] = 1000;
  entry.in_dram = Level::kExact;
  entry.on_disk = Level::kExact;
  return entry;
}

wire::InventoryEntry Gone(wire::InventoryEntry entry) {
  entry.in_dram = entry.on_disk = LevelSet();
  return entry;
}

bool Has(const Directory& directory, std::uint64_t key, LookupFilter filter = {.tenant = kTenant}) {
  wire::ChunkLocation location;
  return directory.Find(filter, KeyOf(key), location);
}

class DirectoryTest : public testing::Test {
 protected:
  DirectoryTest() : directory_(99) { directory_.SetAlive(kNode, true); }

  void Apply(NodeId node, const wire::InventoryEntry& entry,
             Directory::Source source = Directory::Source::kReport) {
    directory_.Apply(node, entry, source);
  }

  Directory directory_;
};

TEST_F(DirectoryTest, FindsWhatANodeReported) {
  Apply(kNode, EntryOf(1));
  wire::ChunkLocation location;
  ASSERT_TRUE(directory_.Find({.tenant = kTenant}, KeyOf(1), location));
  EXPECT_EQ(location.put_id, PutOf(1));
  EXPECT_EQ(location.token_count, 256U);
  ASSERT_EQ(location.parts.size(), 1U);
  ASSERT_EQ(location.parts[0].replicas.size(), 1U);
  EXPECT_EQ(location.parts[0].replicas[0],
            (wire::ReplicaLocation{kNode, Level::kExact, Level::kExact}));
}

TEST_F(DirectoryTest, AForeignTenantsKeyIsAMiss) {
  Apply(kNode, EntryOf(1));
  EXPECT_FALSE(Has(directory_, 1, {.tenant = TenantId{8}}));
}

TEST_F(DirectoryTest, ADeadNodesReplicaIsSkippedUntilItIsBack) {
  Apply(kNode, EntryOf(1));
  directory_.SetAlive(kNode, false);
  EXPECT_FALSE(Has(directory_, 1));
  directory_.SetAlive(kNode, true);
  EXPECT_TRUE(Has(directory_, 1));
}

TEST_F(DirectoryTest, AWalkEndsAtTheFirstMiss) {
  for (const std::uint64_t key : {1U, 2U, 4U}) Apply(kNode, EntryOf(key));
  std::vector<ChunkKey> keys;
  for (std::uint64_t key = 1; key <= 30; ++key) keys.push_back(KeyOf(key));
  std::size_t seen = 0;
  const auto sink = [&](const wire::ChunkLocation&) { return ++seen > 0; };
  EXPECT_EQ(directory_.WalkChain({.tenant = kTenant}, keys, sink), 2U);
  EXPECT_EQ(seen, 2U);
}

TEST_F(DirectoryTest, AChunkIsVisibleWhenAllItsPartsAre) {
  wire::InventoryEntry part = EntryOf(1);
  part.shape.count = 2;
  Apply(kNode, part);
  EXPECT_FALSE(Has(directory_, 1));
  part.shape.number = 1;
  Apply(kNode, part);
  EXPECT_TRUE(Has(directory_, 1));
  EXPECT_TRUE(directory_.IsComplete(kTenant, KeyOf(1), PutOf(1)));
}

TEST_F(DirectoryTest, PartsOfDifferentPutsAreNeverCombined) {
  wire::InventoryEntry part = EntryOf(1, 1);
  part.shape.count = 2;
  Apply(kNode, part);
  part = EntryOf(1, 2);
  part.shape = {.number = 1, .count = 2, .layers = {}, .kv_heads = {}};
  Apply(kNode, part);
  EXPECT_FALSE(Has(directory_, 1));
}

TEST_F(DirectoryTest, OfSeveralPutsTheCompleteOneOfBestProvenanceIsReturned) {
  wire::InventoryEntry lossy = EntryOf(1, 1);
  lossy.provenance = {ProvenanceKind::kLossy, Level::kFine, 0};
  wire::InventoryEntry unknown = EntryOf(1, 2);
  unknown.provenance = {};
  wire::InventoryEntry exact_but_partial = EntryOf(1, 3);
  exact_but_partial.shape.count = 2;
  for (const auto& entry : {unknown, lossy, exact_but_partial}) Apply(kNode, entry);
  wire::ChunkLocation location;
  ASSERT_TRUE(directory_.Find({.tenant = kTenant}, KeyOf(1), location));
  EXPECT_EQ(location.put_id, PutOf(1));
  EXPECT_FALSE(Has(directory_, 1, {.tenant = kTenant, .floor = ProvenanceKind::kExact}));
}

TEST_F(DirectoryTest, AChunkThatLacksTheMinimalLevelIsAMiss) {
  wire::InventoryEntry entry = EntryOf(1);
  entry.in_dram = Level::kDraft;
  entry.on_disk = LevelSet(Level::kDraft) | Level::kStandard;
  Apply(kNode, entry);
  EXPECT_TRUE(Has(directory_, 1, {.tenant = kTenant, .level_min = Level::kStandard}));
  EXPECT_FALSE(Has(directory_, 1, {.tenant = kTenant, .level_min = Level::kFine}));
}

TEST_F(DirectoryTest, DuringAFullReportTheOldOneStillCounts) {
  Apply(kNode, EntryOf(1));
  Apply(kNode, EntryOf(2));
  directory_.ExpectReport(kNode);
  Apply(kNode, EntryOf(2));
  EXPECT_TRUE(Has(directory_, 1));
  directory_.EndReport(kNode);
  EXPECT_FALSE(Has(directory_, 1));
  EXPECT_TRUE(Has(directory_, 2));
  directory_.Sweep(100);
  EXPECT_EQ(directory_.size().chunks, 1U);
  EXPECT_EQ(directory_.size().locations, 1U);
  EXPECT_EQ(directory_.size().bytes_stored, 1000U);
}

TEST_F(DirectoryTest, AReportThatIsBegunAnewStillCountsUntilTheNewOneEnds) {
  Apply(kNode, EntryOf(1));
  directory_.ExpectReport(kNode);
  Apply(kNode, EntryOf(2));
  directory_.ExpectReport(kNode);
  Apply(kNode, EntryOf(3));
  for (const std::uint64_t number : {1U, 2U, 3U}) EXPECT_TRUE(Has(directory_, number));
  directory_.EndReport(kNode);
  EXPECT_FALSE(Has(directory_, 1));
  EXPECT_FALSE(Has(directory_, 2));
  EXPECT_TRUE(Has(directory_, 3));
}

// It may have been committed after the node had looked, and before the report was here.
TEST_F(DirectoryTest, WhatANodeAnsweredOutlastsTheReportThatComesNextAndNoOther) {
  directory_.EndReport(kNode);
  Apply(kNode, EntryOf(1), Directory::Source::kAnswer);
  directory_.EndReport(kNode);
  EXPECT_TRUE(Has(directory_, 1));
  directory_.EndReport(kNode);
  EXPECT_FALSE(Has(directory_, 1));
}

TEST_F(DirectoryTest, WhatANodeAnsweredBeforeAReportWasAskedForHasToBeInIt) {
  Apply(kNode, EntryOf(1), Directory::Source::kAnswer);
  directory_.ExpectReport(kNode);
  Apply(kNode, EntryOf(2), Directory::Source::kAnswer);
  directory_.EndReport(kNode);
  EXPECT_FALSE(Has(directory_, 1));
  EXPECT_TRUE(Has(directory_, 2));
}

// Even if an answer told it too: the change came later, and before the report.
TEST_F(DirectoryTest, WhatANodeToldAsAChangeHasToBeInItsNextReport) {
  directory_.EndReport(kNode);
  Apply(kNode, EntryOf(1), Directory::Source::kAnswer);
  Apply(kNode, EntryOf(1), Directory::Source::kChange);
  Apply(kNode, EntryOf(2), Directory::Source::kChange);
  EXPECT_TRUE(Has(directory_, 1));
  EXPECT_TRUE(Has(directory_, 2));
  directory_.EndReport(kNode);
  EXPECT_FALSE(Has(directory_, 1));
  EXPECT_FALSE(Has(directory_, 2));
}

TEST_F(DirectoryTest, AReportNumberThatComesRoundAgainRevivesNothing) {
  Apply(kNode, EntryOf(1));
  for (int i = 0; i < (1 << 16) + 2; ++i) {
    directory_.ExpectReport(kNode);
    directory_.EndReport(kNode);
    ASSERT_FALSE(Has(directory_, 1)) << "after report " << i;
  }
}

TEST_F(DirectoryTest, AFourthReplicaIsKeptToo) {
  for (std::uint32_t node = 1; node <= 4; ++node) {
    directory_.SetAlive(NodeId{node}, true);
    Apply(NodeId{node}, EntryOf(1));
  }
  for (std::uint32_t node = 1; node <= 3; ++node) directory_.SetAlive(NodeId{node}, false);
  wire::ChunkLocation location;
  ASSERT_TRUE(directory_.Find({.tenant = kTenant}, KeyOf(1), location));
  EXPECT_EQ(location.parts[0].replicas[0].node, NodeId{4});
}

TEST_F(DirectoryTest, ChangesAreToldWhileSomebodyWatches) {
  Apply(kNode, EntryOf(1));
  EXPECT_TRUE(directory_.TakeChanges().empty());
  directory_.WatchChanges(true);
  Apply(kNode, EntryOf(2));
  Apply(kNode, EntryOf(2));  // said twice, told once
  Apply(kNode, Gone(EntryOf(1)));
  const auto changes = directory_.TakeChanges();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_TRUE(changes[0].stored);
  EXPECT_EQ(changes[0].key, KeyOf(2));
  EXPECT_FALSE(changes[1].stored);
  EXPECT_EQ(changes[1].key, KeyOf(1));
}

TEST_F(DirectoryTest, AScanInTurnsSeesEverythingOnce) {
  for (std::uint64_t key = 0; key < 500; ++key) Apply(kNode, EntryOf(key));
  std::set<ChunkKey> seen;
  std::uint64_t cursor = 0;
  do {
    cursor = directory_.Scan(cursor, 64, [&](const StoredReplica& replica) {
      EXPECT_TRUE(seen.insert(replica.name.key).second);
    });
  } while (cursor != 0);
  EXPECT_EQ(seen.size(), 500U);
}

TEST_F(DirectoryTest, ALocationTakesLessThanTwoHundredBytes) {
  constexpr std::uint64_t kCount = 1000000;
  for (std::uint64_t key = 0; key < kCount; ++key) {
    Apply(kNode, EntryOf(key));
  }
  EXPECT_LE(directory_.size().memory_bytes, 200 * kCount);
}

// The fast table against the naive one, over random histories of few keys, so that everything
// collides with everything.
class DirectoryAgainstModel : public testing::TestWithParam<std::uint64_t> {
 protected:
  DirectoryAgainstModel() : random_(GetParam()), directory_(GetParam()) {}

  std::uint64_t Below(std::uint64_t bound) { return random_.Next() % bound; }

  wire::InventoryEntry RandomEntry() {
    wire::InventoryEntry entry = EntryOf(Below(40), Below(3));
    entry.tenant = TenantId{7 + Below(2)};
    // What a put is follows from its id, as it does for real ones.
    const auto put = static_cast<std::size_t>(entry.put_id.bytes[0]);
    entry.provenance.kind = static_cast<ProvenanceKind>(put % 4);
    entry.shape.count = static_cast<std::uint16_t>(1 + put % 3);
    entry.shape.number = static_cast<std::uint16_t>(Below(entry.shape.count));
    entry.in_dram = LevelSet(static_cast<std::uint8_t>(Below(16)));
    entry.on_disk = LevelSet(static_cast<std::uint8_t>((1U << Below(5)) - 1));
    return entry;
  }

  void Step() {
    const NodeId node{static_cast<std::uint32_t>(1 + Below(5))};
    switch (Below(40)) {
      case 0:
        return Both([&](auto& d) { d.SetAlive(node, true); });
      case 1:
        return Both([&](auto& d) { d.SetAlive(node, false); });
      case 2:
        return Both([&](auto& d) { d.ExpectReport(node); });
      case 3:
        return Both([&](auto& d) { d.EndReport(node); });
      case 4:
        return Both([&](auto& d) { d.Forget(node); });
      case 5:
        return directory_.Sweep(static_cast<std::uint32_t>(Below(20)));
      default: {
        wire::InventoryEntry entry = RandomEntry();
        if (Below(3) == 0) entry = Gone(entry);
        const auto source = static_cast<Directory::Source>(Below(3));
        Both([&](auto& d) { d.Apply(node, entry, source); });
      }
    }
  }

  template <class Change>
  void Both(const Change& change) {
    change(directory_);
    change(model_);
  }

  void Compare(const LookupFilter& filter, const ChunkKey& key) {
    wire::ChunkLocation location;
    const bool found = directory_.Find(filter, key, location);
    const auto expected = model_.Find(filter, key);
    ASSERT_EQ(found, expected.has_value());
    if (!found) return;
    ASSERT_EQ(location.put_id, expected->put_id);
    ASSERT_EQ(location.provenance, expected->provenance);
    ASSERT_EQ(location.parts.size(), expected->nodes.size());
    for (std::size_t part = 0; part < location.parts.size(); ++part) {
      std::set<std::uint32_t> nodes;
      for (const auto& replica : location.parts[part].replicas) {
        nodes.insert(static_cast<std::uint32_t>(replica.node));
        ASSERT_TRUE(expected->nodes[part].contains(static_cast<std::uint32_t>(replica.node)));
      }
      ASSERT_EQ(nodes.size(), std::min<std::size_t>(3, expected->nodes[part].size()));
    }
  }

  SeededRandom random_;
  Directory directory_;
  DirectoryModel model_;
};

TEST_P(DirectoryAgainstModel, AnswersTheSame) {
  for (int step = 0; step < 3000; ++step) {
    Step();
    if (step % 10 != 0) continue;
    const LookupFilter filter{.tenant = TenantId{7 + Below(2)},
                              .floor = static_cast<ProvenanceKind>(Below(4)),
                              .level_min = static_cast<Level>(Below(4))};
    for (std::uint64_t key = 0; key < 40; ++key) Compare(filter, KeyOf(key));
    if (HasFatalFailure()) FAIL() << "seed " << GetParam() << ", step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, DirectoryAgainstModel, testing::Range<std::uint64_t>(1, 21));

// The table's own hard cases: growth and deletion in long runs of neighbours.
TEST(DirectoryTable, SurvivesGrowthAndRandomRemoval) {
  Directory directory(5);
  directory.SetAlive(kNode, true);
  SeededRandom random(5);
  std::set<std::uint64_t> present;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t key = random.Next() % 6000;
    if (random.Next() % 5 < 3) {
      directory.Apply(kNode, EntryOf(key), Directory::Source::kReport);
      present.insert(key);
    } else {
      directory.Apply(kNode, Gone(EntryOf(key)), Directory::Source::kReport);
      present.erase(key);
    }
  }
  EXPECT_EQ(directory.size().chunks, present.size());
  for (std::uint64_t key = 0; key < 6000; ++key) {
    ASSERT_EQ(Has(directory, key), present.contains(key)) << key;
  }
}

}  // namespace
}  // namespace kdn::coordinator
