// The store's parts, each against the naive version of itself.
#include <gtest/gtest.h>

#include <random>

#include "storage/index_cache.h"
#include "storage/object_check.h"
#include "storage/put_table.h"
#include "tests/storage/map_tier.h"
#include "tests/storage/store_driver.h"

namespace kdn::storage::test {
namespace {

void Copy(const TestObject& object, Block& block) {
  std::vector<MutableBytes> runs;
  block.Append(0, object.bytes.size(), runs);
  std::size_t at = 0;
  for (const MutableBytes run : runs) {
    std::copy_n(object.bytes.begin() + static_cast<long>(at), run.size(), run.begin());
    at += run.size();
  }
}

class ScatteredObjectTest : public ::testing::Test {
 protected:
  // Leaves single free pages, so that blocks lie in many runs.
  void SetUp() override {
    for (int i = 0; i < 64; ++i) taken_.push_back(Block::Make(*arena_, kPageBytes));
    for (std::size_t i = 0; i < 64; i += 2) taken_[i].reset();
  }
  std::unique_ptr<Arena> arena_ = Arena::Map(64 * kPageBytes).value();
  std::vector<BlockRef> taken_;
};

TEST_F(ScatteredObjectTest, CheckAnswersAsVerifyObjectDoes) {
  for (const std::size_t size : {5'000U, 65'536U, 300'000U, 1'200'000U}) {
    for (const LevelSet levels : {LevelSet(Level::kExact), kAllLevels}) {
      const TestObject object = MakeObject({.seed = size, .size_bytes = size, .levels = levels});
      const BlockRef block = Block::Make(*arena_, object.bytes.size());
      ASSERT_NE(block, nullptr);
      Copy(object, *block);
      const auto checked = CheckObject(*block);
      ASSERT_TRUE(checked.has_value()) << checked.error().ToString();
      EXPECT_EQ(checked->digest, VerifyObject(object.bytes).value());
      EXPECT_EQ(checked->digest, object.digest);
      EXPECT_EQ(checked->header, object.header);
      EXPECT_EQ(checked->levels, object.header.levels_encoded);
    }
  }
}

TEST_F(ScatteredObjectTest, ObjectThatEndsAfterAnySegmentIsWhole) {
  TestObject object = MakeObject({.size_bytes = 400'000, .levels = kAllLevels});
  const auto& sizes = object.header.level_bytes;
  object.bytes.resize(kObjectHeaderBytes + sizes[0] + sizes[1]);
  BlockRef block = Block::Make(*arena_, object.bytes.size());
  Copy(object, *block);
  const auto checked = CheckObject(*block);
  ASSERT_TRUE(checked.has_value());
  EXPECT_EQ(checked->levels, LevelSet(Level::kDraft) | Level::kStandard);
  EXPECT_EQ(checked->digest, VerifyObject(object.bytes).value());
  for (const std::size_t cut :
       {std::size_t{1}, kObjectHeaderBytes - 1, kObjectHeaderBytes, object.bytes.size() - 1}) {
    object.bytes.resize(cut);
    block = Block::Make(*arena_, cut);
    Copy(object, *block);
    EXPECT_FALSE(CheckObject(*block)) << cut;
  }
}

TEST_F(ScatteredObjectTest, EveryFlippedBitIsCaughtWhereverARunEnds) {
  const TestObject object = MakeObject({.size_bytes = 300'000});
  const BlockRef block = Block::Make(*arena_, object.bytes.size());
  Copy(object, *block);
  std::vector<MutableBytes> runs;
  block->Append(0, block->size(), runs);
  ASSERT_GE(runs.size(), 4U);
  for (const MutableBytes run : runs) {
    for (const std::size_t at : {std::size_t{0}, run.size() / 2, run.size() - 1}) {
      run[at] ^= std::byte{0x80};
      EXPECT_EQ(CheckObject(*block).error().code(), Code::kDataLoss);
      run[at] ^= std::byte{0x80};
    }
  }
  EXPECT_TRUE(CheckObject(*block).has_value());
}

// In steps of all sizes, so that headers, indices and tiles are cut anywhere.
TEST_F(ScatteredObjectTest, SumsOfWhatArrivesAreThoseOfTheTiles) {
  for (const std::size_t step : {1'000U, 7'777U, 70'000U, 1'200'000U}) {
    const TestObject object =
        MakeObject({.seed = step, .size_bytes = 300'000, .levels = kAllLevels});
    const BlockRef block = Block::Make(*arena_, object.bytes.size());
    Copy(object, *block);
    ArrivingSums sums;
    for (std::size_t at = step; at < block->size(); at += step) sums.Advance(*block, at);
    sums.Advance(*block, block->size());
    const auto checked = CheckObject(*block, &sums);
    ASSERT_TRUE(checked.has_value()) << checked.error().ToString();
    EXPECT_EQ(checked->digest, object.digest);
    // All tiles were summed: what they are overwritten with is not looked at any more.
    const ObjectHeader& header = object.header;
    const auto index = CheckSegment(header, Level::kDraft, *block, kObjectHeaderBytes, true);
    std::vector<MutableBytes> runs;
    block->Append(kObjectHeaderBytes + index->IndexBytes(), index->TileBytes(), runs);
    for (const MutableBytes run : runs) std::ranges::fill(run, std::byte{0x5A});
    EXPECT_TRUE(CheckObject(*block, &sums).has_value());
    EXPECT_FALSE(CheckObject(*block).has_value());
    sums.GiveUp();
    EXPECT_FALSE(CheckObject(*block, &sums).has_value());
  }
}

TEST_F(ScatteredObjectTest, WhatArrivesWrongIsCaughtBySums) {
  const TestObject object = MakeObject({.size_bytes = 300'000});
  const BlockRef block = Block::Make(*arena_, object.bytes.size());
  Copy(object, *block);
  std::vector<MutableBytes> runs;
  block->Append(0, block->size(), runs);
  for (const MutableBytes run : runs) {
    for (const std::size_t at : {std::size_t{0}, run.size() / 2, run.size() - 1}) {
      run[at] ^= std::byte{0x80};
      ArrivingSums sums;
      for (std::size_t bytes = 0; bytes < block->size(); bytes += 10'000) {
        sums.Advance(*block, bytes);
      }
      sums.Advance(*block, block->size());
      EXPECT_EQ(CheckObject(*block, &sums).error().code(), Code::kDataLoss);
      run[at] ^= std::byte{0x80};
    }
  }
}

TEST(PutRangesTest, ReceivedRangesEqualTheNaiveSet) {
  const auto arena = Arena::Map(4 * kPageBytes).value();
  std::mt19937 random(2);
  for (int round = 0; round < 50; ++round) {
    Put put;
    put.block = Block::Make(*arena, 200);
    std::vector<bool> naive(200, false);
    while (!put.Complete()) {
      const std::size_t begin = random() % 200;
      const std::size_t end = begin + 1 + random() % std::min<std::size_t>(200 - begin, 30);
      put.Receive(begin, end);
      std::fill(naive.begin() + static_cast<long>(begin), naive.begin() + static_cast<long>(end),
                true);
      std::size_t covered = 0;
      std::uint64_t last_end = 0;
      for (const auto& [from, to] : put.received) {
        EXPECT_TRUE(from > last_end || covered == 0);  // joined where they meet
        for (std::uint64_t i = from; i < to; ++i) EXPECT_TRUE(naive[i]);
        covered += to - from;
        last_end = to;
      }
      ASSERT_EQ(covered, static_cast<std::size_t>(std::count(naive.begin(), naive.end(), true)));
    }
    EXPECT_EQ(std::count(naive.begin(), naive.end(), false), 0);
  }
}

TEST(IndexCacheTest, KeepsWhatWasUsedLastWithinItsBytes) {
  SegmentIndex index;
  index.tiles.resize(100);
  IndexCache cache(3 * (100 * sizeof(TileEntry) + 200));
  for (std::uint64_t object = 1; object <= 3; ++object) {
    static_cast<void>(cache.Insert(object, Level::kExact, index));
  }
  EXPECT_NE(cache.Find(1, Level::kExact), nullptr);
  EXPECT_EQ(cache.Find(1, Level::kDraft), nullptr);
  static_cast<void>(cache.Insert(4, Level::kExact, index));
  EXPECT_NE(cache.Find(1, Level::kExact), nullptr);
  EXPECT_EQ(cache.Find(2, Level::kExact), nullptr);
  cache.Erase(1, Level::kExact);
  EXPECT_EQ(cache.Find(1, Level::kExact), nullptr);
}

TEST(IndexCacheTest, EntryInUseOutlivesItsPlace) {
  SegmentIndex index;
  index.tiles.resize(100);
  IndexCache cache(1);
  const IndexRef used = cache.Insert(1, Level::kDraft, index);
  static_cast<void>(cache.Insert(1, Level::kExact, index));
  EXPECT_EQ(cache.Find(1, Level::kDraft), nullptr);
  EXPECT_EQ(used->tiles.size(), 100U);
}

ObjectId Numbered(std::uint16_t part) {
  ObjectId id;
  id.part = part;
  return id;
}

TEST(DiskJobsTest, ChangesOfOneObjectRunInOrderOneAtATime) {
  MapTier tier;
  tier.PostLater(true);
  DiskJobs jobs(&tier);
  std::string ran;
  std::string done;
  const auto change = [&](std::uint16_t part, char name) {
    jobs.Change(
        Numbered(part),
        [&ran, name] {
          ran += name;
          return Status();
        },
        [&done, name](const Status&) { done += name; });
  };
  change(1, 'a');
  change(1, 'b');
  change(2, 'c');
  change(1, 'd');
  EXPECT_EQ(jobs.pending(), 4U);
  tier.RunPosted();
  EXPECT_EQ(ran, "ac");
  EXPECT_TRUE(jobs.Poll());
  EXPECT_EQ(done, "ac");
  tier.RunPosted();
  jobs.Poll();
  tier.RunPosted();
  jobs.Poll();
  EXPECT_EQ(ran, "acbd");
  EXPECT_EQ(done, "acbd");
  EXPECT_EQ(jobs.pending(), 0U);
  EXPECT_FALSE(jobs.Poll());
}

TEST(DiskJobsTest, ReadsAreRefusedAndChangesWaitWhenTheQueueIsFull) {
  MapTier tier;
  tier.PostLater(true);
  tier.QueueDepth(1);
  DiskJobs jobs(&tier);
  int done = 0;
  const auto work = [] { return Status(); };
  for (std::uint16_t part = 0; part < 3; ++part) {
    jobs.Change(Numbered(part), work, [&](const Status&) { ++done; });
  }
  EXPECT_FALSE(jobs.Read(work, [](const Status&) { FAIL(); }));
  for (int i = 1; i <= 3; ++i) {
    tier.RunPosted();
    jobs.Poll();
    EXPECT_EQ(done, i);
  }
  EXPECT_EQ(jobs.pending(), 0U);
}

}  // namespace
}  // namespace kdn::storage::test
