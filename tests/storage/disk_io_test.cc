// How bytes reach the disk and come back: syncs that several writers share and that fail, values
// that are read past RocksDB, from the page cache and past it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <latch>
#include <thread>

#include "base/limits.h"
#include "storage/rocks/blob_place.h"
#include "storage/rocks/database.h"
#include "storage/rocks/records.h"
#include "storage/rocks/rocks_tier.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_driver.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMiB = limits::kMiB;

Status WriteObject(DiskTier& tier, const TestObject& object) {
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  DiskTier::Segments segments;
  segments[static_cast<std::size_t>(Level::kExact)] = std::span(&segment, 1);
  return tier.Write(IdOf(object), EncodeHeader(object.header), segments);
}

bool HasObject(DiskTier& tier, const TestObject& object) {
  const ConstBytes right = SegmentOf(object, Level::kExact);
  std::vector<std::byte> bytes(right.size());
  const MutableBytes out(bytes);
  return tier.Read(IdOf(object), Level::kExact, 0, std::span(&out, 1)).ok() &&
         std::equal(bytes.begin(), bytes.end(), right.begin());
}

TEST(GroupSyncTest, ThoseWhoComeWhileOneRunsShareTheNext) {
  constexpr int kWaiting = 4;
  rocks::GroupSync group;
  std::latch first_begun(1);
  std::latch first_may_end(1);
  std::atomic<int> syncs = 0;
  std::thread first([&] {
    const Status status = group.Sync([&] {
      ++syncs;
      first_begun.count_down();
      first_may_end.wait();
      return Status();
    });
    EXPECT_TRUE(status.ok());
  });
  first_begun.wait();
  std::latch all_come(kWaiting);
  std::vector<std::thread> waiting;
  std::atomic<int> failed = 0;
  for (int i = 0; i < kWaiting; ++i) {
    waiting.emplace_back([&] {
      all_come.count_down();
      const Status status = group.Sync([&] {
        ++syncs;
        return Status(Code::kUnavailable, "broken");
      });
      failed += status.code() == Code::kUnavailable ? 1 : 0;
    });
  }
  all_come.wait();
  first_may_end.count_down();
  first.join();
  for (std::thread& thread : waiting) thread.join();
  EXPECT_EQ(failed.load(), kWaiting);
  EXPECT_GE(syncs.load(), 2);
  EXPECT_LE(syncs.load(), 1 + kWaiting);
  // And a sync that failed is over for those who come later.
  EXPECT_TRUE(group.Sync([] { return Status(); }).ok());
}

TEST(DiskIoTest, WriteWhoseSyncFailsIsNotAcknowledgedAndIsWrittenAgain) {
  const kdn::test::TempDir dir;
  const auto files = std::make_shared<FaultyFileSystem>();
  const auto env = rocksdb::NewCompositeEnv(files);
  auto tier = rocks::OpenRocksTierOn({.folder = dir.File("tier")}, env.get()).value();
  const TestObject before = MakeObject({.seed = 1, .size_bytes = 300'000});
  const TestObject object = MakeObject({.seed = 2, .size_bytes = 300'000});
  ASSERT_TRUE(WriteObject(*tier, before).ok());
  for (int round = 0; round < 2; ++round) {
    files->FailSyncs(true);
    EXPECT_EQ(WriteObject(*tier, object).code(), Code::kUnavailable);
    EXPECT_EQ(WriteObject(*tier, object).code(), Code::kUnavailable);
    EXPECT_TRUE(HasObject(*tier, before));
    files->FailSyncs(false);
    // What RocksDB still has in memory of the first attempt is not taken for durable.
    const int syncs = files->syncs();
    const Status accepted = WriteObject(*tier, object);
    ASSERT_TRUE(accepted.ok()) << accepted.ToString();
    EXPECT_GT(files->syncs(), syncs);
    EXPECT_TRUE(HasObject(*tier, object));
    ASSERT_TRUE(tier->Delete(IdOf(object), kAllLevels).ok());
  }
}

TEST(DiskIoTest, FullDiskIsOpenedToReadAndTakesWritesOnceThereIsSpace) {
  const kdn::test::TempDir dir;
  const auto files = std::make_shared<FaultyFileSystem>();
  const auto env = rocksdb::NewCompositeEnv(files);
  const DiskOptions options{.folder = dir.File("tier")};
  auto tier = rocks::OpenRocksTierOn(options, env.get()).value();
  const TestObject in_files = MakeObject({.seed = 1, .size_bytes = 300'000});
  const TestObject in_log = MakeObject({.seed = 2, .size_bytes = 300'000});
  const TestObject later = MakeObject({.seed = 3, .size_bytes = 300'000});
  ASSERT_TRUE(WriteObject(*tier, in_files).ok());
  ASSERT_TRUE(tier->Close().ok());
  tier = rocks::OpenRocksTierOn(options, env.get()).value();
  ASSERT_TRUE(WriteObject(*tier, in_log).ok());
  files->Full(true);
  static_cast<void>(tier->Close());
  auto opened = rocks::OpenRocksTierOn(options, env.get());
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  tier = *std::move(opened);
  EXPECT_TRUE(HasObject(*tier, in_files));
  EXPECT_TRUE(HasObject(*tier, in_log));
  EXPECT_EQ(WriteObject(*tier, later).code(), Code::kResourceExhausted);
  EXPECT_EQ(tier->Delete(IdOf(in_log), kAllLevels).code(), Code::kResourceExhausted);
  EXPECT_TRUE(HasObject(*tier, in_log));
  files->Full(false);
  const Status accepted = WriteObject(*tier, later);
  EXPECT_TRUE(accepted.ok()) << accepted.ToString();
  for (const TestObject* object : {&in_files, &in_log, &later}) {
    EXPECT_TRUE(HasObject(*tier, *object));
  }
  ASSERT_TRUE(tier->Close().ok());
  // A first start has nothing to read.
  files->Full(true);
  EXPECT_EQ(rocks::OpenRocksTierOn({.folder = dir.File("new")}, env.get()).error().code(),
            Code::kResourceExhausted);
}

class BlobReadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    ASSERT_TRUE(WriteObject(*tier_, object_).ok());
    // Into blob files.
    ASSERT_TRUE(tier_->Close().ok());
    Open();
  }
  void Open() { tier_ = OpenRocksTier({.folder = dir_.File("tier"), .sync = false}).value(); }
  std::vector<fs::path> BlobFiles() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(dir_.File("tier") + "/rocks")) {
      if (entry.path().extension() == ".blob") files.push_back(entry.path());
    }
    return files;
  }
  // `bytes` of each file, 0: all.
  void DropFromPageCache(off_t from = 0) {
    for (const fs::path& file : BlobFiles()) {
      const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
      ASSERT_GE(fd, 0);
      ASSERT_EQ(::fsync(fd), 0);
      ASSERT_EQ(::posix_fadvise(fd, from, 0, POSIX_FADV_DONTNEED), 0);
      ::close(fd);
    }
  }
  // Whether a range comes back right, in runs that are aligned to nothing.
  void ExpectRange(std::size_t offset, std::size_t size) {
    const ConstBytes right = SegmentOf(object_, Level::kExact).subspan(offset, size);
    std::vector<std::byte> bytes(size);
    const MutableBytes all(bytes);
    const std::array<MutableBytes, 3> runs{all.first(size / 3), MutableBytes(),
                                           all.subspan(size / 3)};
    const Status status = tier_->Read(IdOf(object_), Level::kExact, offset, runs);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), right.begin())) << offset << " " << size;
  }
  void ExpectRanges() {
    const std::size_t size = SegmentOf(object_, Level::kExact).size();
    ExpectRange(0, size);
    ExpectRange(1, size - 1);
    ExpectRange(kMiB - 5, 2 * kMiB + 77);
    ExpectRange(kMiB / 2, 10);
    ExpectRange(size - 1, 1);
  }

  const TestObject object_ = MakeObject({.seed = 5, .size_bytes = 5 * kMiB + 4321});
  kdn::test::TempDir dir_;
  std::unique_ptr<DiskTier> tier_;
};

TEST_F(BlobReadTest, AnyRangeComesFromThePageCacheAndPastIt) {
  ExpectRanges();
  DropFromPageCache();
  ExpectRanges();
  ExpectRange(0, kMiB);
  DropFromPageCache(3 * kMiB);
  ExpectRanges();
}

TEST_F(BlobReadTest, ValuesInBlobFilesAreLocatedAndOthersGiven) {
  ASSERT_TRUE(tier_->Close().ok());
  rocks::Database db(dir_.File("tier"), rocksdb::Env::Default());
  ASSERT_TRUE(db.Open().ok());
  std::string key = rocks::NameKey(IdOf(object_));
  std::string copy;
  std::optional<rocks::BlobPlace> place;
  std::size_t given = 0;
  const auto use = [&](std::string_view value) { given = value.size(); };
  ASSERT_TRUE(db.Locate(rocks::Family::kObjects, key, use, copy, place).ok());
  EXPECT_FALSE(place.has_value());
  EXPECT_GT(given, kObjectHeaderBytes);
  given = 0;
  rocks::SetSlice(key, 1);
  ASSERT_TRUE(db.Locate(rocks::FamilyOf(Level::kExact), key, use, copy, place).ok());
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->size_bytes(), rocks::kSliceBytes);
  EXPECT_EQ(given, 0U);
  rocks::SetSlice(key, 99);
  EXPECT_EQ(db.Locate(rocks::FamilyOf(Level::kExact), key, use, copy, place).code(),
            Code::kNotFound);
  EXPECT_FALSE(place.has_value());
}

TEST_F(BlobReadTest, CutFileIsDataLossAndNotADeath) {
  for (const fs::path& file : BlobFiles()) fs::resize_file(file, fs::file_size(file) / 2);
  const ConstBytes right = SegmentOf(object_, Level::kExact);
  std::vector<std::byte> bytes(right.size());
  const MutableBytes out(bytes);
  for (const bool cold : {false, true}) {
    if (cold) DropFromPageCache();
    const Status status = tier_->Read(IdOf(object_), Level::kExact, 0, std::span(&out, 1));
    EXPECT_EQ(status.code(), Code::kDataLoss) << status.ToString();
  }
}

TEST_F(BlobReadTest, PlaceIsReadAfterItsFileIsDeleted) {
  const fs::path file = BlobFiles().at(0);
  std::vector<std::byte> right(100'000);
  const MutableBytes out(right);
  rocks::DirectReader direct;
  ASSERT_TRUE(rocks::BlobPlace(file, 1000, right.size()).Read(0, std::span(&out, 1), direct).ok());
  const rocks::BlobPlace place(file, 1000, right.size());
  ASSERT_TRUE(tier_->Close().ok());
  fs::remove(file);
  std::vector<std::byte> bytes(right.size() - 7);
  const MutableBytes again(bytes);
  ASSERT_TRUE(place.Read(7, std::span(&again, 1), direct).ok());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), right.begin() + 7));
}

}  // namespace
}  // namespace kdn::storage::test
