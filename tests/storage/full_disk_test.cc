// A disk that is at its bound, or takes no writes: what is given up for room, what is refused, and
// what goes on once the disk is well again.
#include <algorithm>
#include <filesystem>

#include "storage/rocks/rocks_tier.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/tiers_fixture.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

class FullDiskTest : public TiersTest {};

TEST_F(FullDiskTest, FullDiskGivesUpItsColdestLeaves) {
  Open(WriteMode::kWriteThrough, 16 * kMiB, 5 * kMiB + kMiB / 2);
  const auto chain = MakeChain(3, kMiB, 1);
  const auto other = MakeChain(2, kMiB, 2);
  for (const TestObject& object : chain) ASSERT_EQ(driver().Put(object), Code::kOk);
  driver().clock().Advance(std::chrono::seconds(1));
  for (const TestObject& object : other) ASSERT_EQ(driver().Put(object), Code::kOk);
  driver().clock().Advance(std::chrono::seconds(1));
  // The chain's head is the coldest, but its end goes first.
  ASSERT_EQ(driver().Put(MakeObject({.seed = 77, .size_bytes = kMiB})), Code::kOk);
  EXPECT_TRUE(Find(chain[0]));
  EXPECT_TRUE(Find(chain[1]));
  EXPECT_FALSE(Find(chain[2]));
  ASSERT_EQ(driver().Put(MakeObject({.seed = 78, .size_bytes = kMiB})), Code::kOk);
  EXPECT_FALSE(Find(chain[1]));
  EXPECT_LE(disk_->bytes_used(), disk_->bytes_max());
}

TEST_F(FullDiskTest, ObjectLargerThanTheDiskIsRefused) {
  Open(WriteMode::kWriteThrough, 4 * kMiB, kMiB);
  ASSERT_EQ(driver().Put(MakeObject({.seed = 1, .size_bytes = kMiB / 2})), Code::kOk);
  EXPECT_EQ(driver().Put(MakeObject({.seed = 2, .size_bytes = 2 * kMiB})),
            Code::kResourceExhausted);
  EXPECT_EQ(store().usage().objects, 1U);
}

TEST_F(FullDiskTest, DiskWithoutSpaceRefusesPutsAndGivesUpNothing) {
  Open(WriteMode::kWriteThrough, 4 * kMiB, 3 * kMiB);
  const TestObject before = MakeObject({.seed = 1, .size_bytes = kMiB});
  ASSERT_EQ(driver().Put(before), Code::kOk);
  disk_->FailWrites(Status(Code::kResourceExhausted, "no space left on device"));
  const TestObject refused = MakeObject({.seed = 2, .size_bytes = kMiB});
  EXPECT_EQ(driver().Put(refused), Code::kResourceExhausted);
  store().AbortPut(IdOf(refused));
  FillDram();
  EXPECT_TRUE(driver().Has(before));
  disk_->FailWrites({});
  EXPECT_EQ(driver().Put(MakeObject({.seed = 3, .size_bytes = kMiB})), Code::kOk);
}

TEST_F(FullDiskTest, DiskThatTakesNoWritesIsRefusedForRoomButCostsNothing) {
  Open(WriteMode::kWriteThrough, 16 * kMiB, 3 * kMiB + kMiB / 2);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    objects.push_back(MakeObject({.seed = seed, .size_bytes = kMiB}));
    ASSERT_EQ(driver().Put(objects.back()), Code::kOk);
  }
  disk_->FailWrites(Status(Code::kResourceExhausted, "no space left on device"));
  for (std::uint64_t seed = 10; seed < 14; ++seed) {
    EXPECT_EQ(driver().Put(MakeObject({.seed = seed, .size_bytes = 2 * kMiB})),
              Code::kResourceExhausted);
  }
  for (const TestObject& object : objects) {
    ASSERT_TRUE(Find(object));
    EXPECT_EQ(Find(object)->in_dram, LevelSet(Level::kExact));
    EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kExact));
  }
  disk_->FailWrites({});
  EXPECT_EQ(driver().Put(MakeObject({.seed = 20, .size_bytes = 2 * kMiB})), Code::kOk);
  EXPECT_EQ(store().usage().objects, 2U);
  EXPECT_LE(disk_->bytes_used(), disk_->bytes_max());
}

TEST_F(FullDiskTest, ReadFromDiskOfAnObjectThatIsBeingEvictedIsAMiss) {
  Open(WriteMode::kWriteThrough, 4 * kMiB, kMiB + kMiB / 2);
  const TestObject old = MakeObject({.seed = 1, .size_bytes = kMiB});
  const TestObject next = MakeObject({.seed = 2, .size_bytes = kMiB});
  ASSERT_EQ(driver().Put(old), Code::kOk);
  FillDram();
  ASSERT_TRUE(driver().Fill(next).has_value());
  disk_->PostLater(true);
  store().Commit(IdOf(next), next.digest, 50);
  EXPECT_EQ(store().StartRead(WholeRead(old), 51).error().code(), Code::kNotFound);
  disk_->RunPosted();
  driver().PollFor(50);
  disk_->RunPosted();
  EXPECT_EQ(driver().Wait(50).code, Code::kOk);
  EXPECT_FALSE(Find(old));
}

TEST_F(FullDiskTest, FailedDeleteIsTriedAgain) {
  Open(WriteMode::kWriteThrough);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    objects.push_back(MakeObject({.seed = seed}));
    ASSERT_EQ(driver().Put(objects.back()), Code::kOk);
  }
  disk_->FailWrites(Status(Code::kUnavailable, "broken"));
  for (const TestObject& object : objects) {
    ASSERT_TRUE(store().Truncate(IdOf(object), kAllLevels).ok());
  }
  driver().PollFor(0);
  EXPECT_FALSE(Find(objects[0]));
  disk_->FailWrites({});
  driver().PollFor(0);
  EXPECT_GT(disk_->bytes_used(), 0U);  // not before its time
  driver().clock().Advance(std::chrono::seconds(2));
  for (std::size_t i = 0; i <= objects.size(); ++i) driver().PollFor(0);
  EXPECT_EQ(disk_->bytes_used(), 0U);
}

TEST_F(FullDiskTest, FailedDeleteDoesNotTakeThePutThatCameAgain) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject();
  ASSERT_EQ(driver().Put(object), Code::kOk);
  disk_->FailWrites(Status(Code::kUnavailable, "broken"));
  ASSERT_TRUE(store().Truncate(IdOf(object), kAllLevels).ok());
  driver().PollFor(0);
  disk_->FailWrites({});
  ASSERT_TRUE(driver().Fill(object).has_value());
  disk_->PostLater(true);
  store().Commit(IdOf(object), object.digest, 50);
  driver().clock().Advance(std::chrono::seconds(2));
  driver().PollFor(0);
  disk_->PostLater(false);
  disk_->RunPosted();
  EXPECT_EQ(driver().Wait(50).code, Code::kOk);
  for (int i = 0; i < 3; ++i) driver().PollFor(0);
  EXPECT_EQ(disk_->LevelsOf(IdOf(object)), LevelSet(Level::kExact));
}

TEST_F(FullDiskTest, ShardsShareTheBoundOfOneDisk) {
  Open(WriteMode::kWriteThrough, 8 * kMiB, 4 * kMiB);
  const StoreOptions options{.dram_bytes = 8 * kMiB, .write_mode = WriteMode::kWriteThrough};
  StoreDriver first(options, disk_.get(), {0, 2});
  StoreDriver second(options, disk_.get(), {1, 2});
  ASSERT_TRUE(first.Open().ok());
  ASSERT_TRUE(second.Open().ok());
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    StoreDriver& shard = seed % 2 == 0 ? first : second;
    EXPECT_EQ(shard.Put(MakeObject({.seed = seed, .size_bytes = kMiB / 2})), Code::kOk);
  }
  EXPECT_LE(disk_->bytes_used(), disk_->bytes_max());
  EXPECT_GE(first->usage().objects, 1U);
  EXPECT_GE(second->usage().objects, 1U);
}

// Over RocksDB, on a file system whose free space the test tells.
class FileSystemSpaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    files_->Free(kPlenty);
    tier_ =
        rocks::OpenRocksTierOn({.folder = dir_.File("tier"), .sync = false}, env_.get()).value();
    driver_.emplace(StoreOptions{.dram_bytes = 64 * kMiB}, tier_.get());
    ASSERT_TRUE(driver_->Open().ok());
  }
  Code PutNext(std::size_t size_bytes = kMiB) {
    return driver_->Put(MakeObject({.seed = ++seed_, .size_bytes = size_bytes}));
  }
  // Less than the tier leaves free, and more than it takes for the work of others.
  std::uint64_t Little() {
    const std::uint64_t whole = std::filesystem::space(dir_.File("tier")).capacity;
    return std::min<std::uint64_t>(whole / 20, 1024 * kMiB) / 2;
  }
  std::uint64_t Objects() { return (*driver_)->usage().objects; }

  static constexpr std::uint64_t kPlenty = kMiB * kMiB;
  kdn::test::TempDir dir_;
  std::shared_ptr<FaultyFileSystem> files_ = std::make_shared<FaultyFileSystem>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(files_);
  std::unique_ptr<DiskTier> tier_;
  std::optional<StoreDriver> driver_;
  std::uint64_t seed_ = 0;
};

TEST_F(FileSystemSpaceTest, FileSystemThatFillsUpCostsAsMuchAgainAsEachPutBrings) {
  for (int i = 0; i < 10; ++i) ASSERT_EQ(PutNext(), Code::kOk);
  EXPECT_EQ(Objects(), 10U);
  files_->Free(Little());
  ASSERT_EQ(PutNext(), Code::kOk);  // after which it is known
  EXPECT_EQ(Objects(), 11U);
  for (std::uint64_t left = 10; left >= 6; --left) {
    ASSERT_EQ(PutNext(), Code::kOk);
    EXPECT_EQ(Objects(), left);
  }
  EXPECT_EQ(PutNext(20 * kMiB), Code::kResourceExhausted);
  EXPECT_EQ(Objects(), 6U);
  files_->Free(kPlenty);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(PutNext(), Code::kOk);
  EXPECT_GE(Objects(), 9U);
}

// As RocksDB's log has room that it was given before, a write would go through.
TEST_F(FileSystemSpaceTest, FileSystemThatOthersFilledTakesNothingAndGivesUpNothing) {
  for (int i = 0; i < 10; ++i) ASSERT_EQ(PutNext(), Code::kOk);
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t before = Objects();
    files_->Free(0);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(PutNext(), Code::kResourceExhausted);
    EXPECT_EQ(Objects(), before);
    // Nor does the first one after space has come back take anything's place.
    files_->Free(kPlenty);
    EXPECT_EQ(PutNext(), Code::kOk);
    EXPECT_EQ(Objects(), before + 1);
  }
}

TEST_F(FileSystemSpaceTest, WhatFindsNoRoomIsTakenOnceSpaceHasComeBack) {
  files_->Free(Little());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(PutNext(), Code::kOk);  // each replaces the last
  EXPECT_EQ(Objects(), 1U);
  EXPECT_EQ(PutNext(4 * kMiB), Code::kResourceExhausted);
  EXPECT_EQ(Objects(), 1U);
  files_->Free(kPlenty);
  EXPECT_EQ(PutNext(4 * kMiB), Code::kOk);
  EXPECT_EQ(Objects(), 2U);
}

}  // namespace
}  // namespace kdn::storage::test
