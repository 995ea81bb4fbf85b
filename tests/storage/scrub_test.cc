// Scrubbing: what has gone bad is found though nobody reads it, dropped and reported; at a rate,
// and around whatever else happens to an object.
#include "tests/storage/tiers_fixture.h"

namespace kdn::storage::test {
namespace {

constexpr std::uint64_t kRate = 4 * kMiB;

class ScrubTest : public TiersTest {
 protected:
  void OpenScrubbed(WriteMode mode, std::uint64_t rate = kRate) {
    if (mode != WriteMode::kDramOnly) disk_ = std::make_unique<MapTier>();
    driver_.emplace(StoreOptions{.dram_bytes = 16 * kMiB,
                                 .write_mode = mode,
                                 .dirty_bytes_max = 8 * kMiB,
                                 .scrub_bytes_per_second = rate},
                    disk_.get());
    ASSERT_TRUE((*driver_).Open().ok());
  }
  // The shard's turns for so long.
  void PassTime(std::chrono::milliseconds time) {
    for (; time.count() > 0; time -= std::chrono::milliseconds(50)) {
      driver().clock().Advance(std::chrono::milliseconds(50));
      driver().PollFor(0);
      driver().PollFor(0);
    }
  }
  // Pushes everything out of DRAM.
  void LeaveToDisk() {
    for (int i = 0; i < 3; ++i) driver().PollFor(0);  // what is looked at holds its memory
    const ObjectId id = IdOf(MakeObject({.seed = 9}));
    ASSERT_TRUE(store().BeginPut(id, 16 * kMiB, driver().Soon()).has_value());
    store().AbortPut(id);
  }
  // The last that the inventory has heard of an object; nullopt: nothing.
  std::optional<StoredObject> Heard(const TestObject& object) {
    bool overflowed = false;
    std::optional<StoredObject> heard;
    for (const InventoryChange& change : store().TakeChanges(overflowed)) {
      if (change.object.header.key == object.header.key) heard = change.object;
    }
    EXPECT_FALSE(overflowed);
    return heard;
  }
};

TEST_F(ScrubTest, BadBytesOnDiskAreDroppedAndReportedThoughNobodyReadsThem) {
  OpenScrubbed(WriteMode::kWriteThrough);
  const TestObject good = MakeObject({.seed = 1, .size_bytes = 300'000});
  const TestObject bad = MakeObject({.seed = 2, .size_bytes = 300'000});
  ASSERT_EQ(driver().Put(good), Code::kOk);
  ASSERT_EQ(driver().Put(bad), Code::kOk);
  LeaveToDisk();
  ASSERT_TRUE(Find(bad)->in_dram.empty());
  static_cast<void>(Heard(bad));
  disk_->Corrupt(IdOf(bad), Level::kExact, 9'000);
  PassTime(std::chrono::seconds(2));
  EXPECT_FALSE(Find(bad));
  const auto heard = Heard(bad);
  ASSERT_TRUE(heard);
  EXPECT_TRUE(heard->in_dram.empty() && heard->on_disk.empty());
  EXPECT_TRUE(disk_->LevelsOf(IdOf(bad)).empty());
  EXPECT_TRUE(driver().Has(good));
}

TEST_F(ScrubTest, BadLevelTakesTheFinerOnesAndLeavesTheCoarser) {
  OpenScrubbed(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 500'000, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  LeaveToDisk();
  disk_->Corrupt(IdOf(object), Level::kFine, 40'000);
  PassTime(std::chrono::seconds(2));
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kDraft) | Level::kStandard);
}

TEST_F(ScrubTest, BadBytesInMemoryAreDropped) {
  OpenScrubbed(WriteMode::kDramOnly);
  const TestObject object = MakeObject({.size_bytes = 300'000});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  auto read = driver().Read(WholeRead(object));
  ASSERT_TRUE(read.has_value());
  auto* const byte = const_cast<std::byte*>((*read)->runs.back().data());
  store().ReleaseRead((*read)->slot);
  *byte ^= std::byte{4};
  PassTime(std::chrono::seconds(2));
  EXPECT_FALSE(Find(object));
}

TEST_F(ScrubTest, ReadsNoFasterThanItsRate) {
  OpenScrubbed(WriteMode::kWriteThrough, kMiB);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    objects.push_back(MakeObject({.seed = seed, .size_bytes = kMiB / 2}));
    ASSERT_EQ(driver().Put(objects.back()), Code::kOk);
  }
  // In DRAM and on disk half a MiB each: one object a second, and one more for what it may owe.
  const std::size_t before = disk_->reads();
  PassTime(std::chrono::seconds(6));
  const std::size_t looked_at = disk_->reads() - before;
  EXPECT_GE(looked_at, 5U);
  EXPECT_LE(looked_at, 8U);
}

TEST_F(ScrubTest, ObjectsThatComeAndGoMeanwhileAreNotTakenForBad) {
  OpenScrubbed(WriteMode::kWriteThrough, 1024 * kMiB);
  const TestObject object = MakeObject({.seed = 1, .size_bytes = 300'000, .levels = kAllLevels});
  const TestObject dropped = MakeObject({.seed = 2, .size_bytes = 300'000});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  ASSERT_EQ(driver().Put(dropped), Code::kOk);
  disk_->PostLater(true);
  PassTime(std::chrono::milliseconds(100));  // both are about to be looked at
  ASSERT_TRUE(store().Truncate(IdOf(object), Level::kExact).ok());
  ASSERT_TRUE(store().Truncate(IdOf(dropped), kAllLevels).ok());
  ASSERT_TRUE(driver().Fill(dropped).has_value());
  store().Commit(IdOf(dropped), dropped.digest, 50);
  for (int i = 0; i < 6; ++i) {
    disk_->RunPosted();
    driver().PollFor(50);
  }
  disk_->PostLater(false);
  PassTime(std::chrono::seconds(3));
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kDraft) | Level::kStandard | Level::kFine);
  EXPECT_TRUE(driver().Has(dropped));
}

TEST_F(ScrubTest, DiskThatFailsReadsCostsNothing) {
  OpenScrubbed(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 300'000});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  disk_->FailReads(Status(Code::kUnavailable, "broken"));
  PassTime(std::chrono::seconds(3));
  disk_->FailReads({});
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kExact));
}

}  // namespace
}  // namespace kdn::storage::test
