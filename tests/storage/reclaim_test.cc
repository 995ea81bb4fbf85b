// Deleted bytes come back to the file system: at once where whole files are garbage, by rewriting
// where some of a file is kept, and by themselves.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "storage/rocks/rocks_tier.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_driver.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMiB = limits::kMiB;
constexpr std::size_t kObjects = 48;

class ReclaimTest : public ::testing::Test {
 protected:
  void Open(std::chrono::milliseconds reclaim_every = {}, double garbage_share_max = 0.2) {
    tier_ = OpenRocksTier({.folder = dir_.File("tier"),
                           .sync = false,
                           .reclaim_every = reclaim_every,
                           .garbage_share_max = garbage_share_max})
                .value();
  }
  void Reopen(std::chrono::milliseconds reclaim_every = {}) {
    ASSERT_TRUE(tier_->Close().ok());
    Open(reclaim_every);
  }
  void WriteAll() {
    for (std::size_t i = 0; i < kObjects; ++i) {
      objects_.push_back(MakeObject({.seed = i + 1, .size_bytes = kMiB}));
      const ConstBytes segment = SegmentOf(objects_.back(), Level::kExact);
      DiskTier::Segments segments;
      segments[static_cast<std::size_t>(Level::kExact)] = std::span(&segment, 1);
      ASSERT_TRUE(
          tier_->Write(IdOf(objects_.back()), EncodeHeader(objects_.back().header), segments).ok());
    }
  }
  // Keeps every `kept`-th object, or none.
  void DeleteBut(std::size_t kept) {
    for (std::size_t i = 0; i < kObjects; ++i) {
      if (kept > 0 && i % kept == 0) continue;
      ASSERT_TRUE(tier_->Delete(IdOf(objects_[i]), kAllLevels).ok());
    }
  }
  // Of files that hold values or the log.
  [[nodiscard]] std::uint64_t BytesInFiles() const {
    std::uint64_t bytes = 0;
    std::error_code error;  // files go while they are counted
    for (const auto& entry : fs::directory_iterator(dir_.File("tier") + "/rocks", error)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".blob" && extension != ".sst" && extension != ".log") continue;
      const std::uint64_t size = entry.file_size(error);
      if (!error) bytes += size;
    }
    return bytes;
  }
  void ExpectKept(std::size_t kept) {
    for (std::size_t i = 0; i < kObjects; i += kept) {
      const ConstBytes right = SegmentOf(objects_[i], Level::kExact);
      std::vector<std::byte> bytes(right.size());
      const MutableBytes out(bytes);
      ASSERT_TRUE(tier_->Read(IdOf(objects_[i]), Level::kExact, 0, std::span(&out, 1)).ok());
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), right.begin()));
    }
  }

  kdn::test::TempDir dir_;
  std::vector<TestObject> objects_;
  std::unique_ptr<DiskTier> tier_;
};

TEST_F(ReclaimTest, WhatIsDeletedAltogetherLeavesNothing) {
  Open();
  WriteAll();
  Reopen();
  ASSERT_GE(BytesInFiles(), kObjects * kMiB);
  DeleteBut(0);
  EXPECT_GE(BytesInFiles(), kObjects * kMiB);  // late: a test that it was worth asking
  ASSERT_TRUE(tier_->Reclaim().ok());
  EXPECT_LE(BytesInFiles(), kMiB);
}

TEST_F(ReclaimTest, WhatOnlyTheLogHasGoesToo) {
  Open();
  WriteAll();
  DeleteBut(0);
  ASSERT_TRUE(tier_->Reclaim().ok());
  EXPECT_LE(BytesInFiles(), kMiB);
}

TEST_F(ReclaimTest, FilesThatKeepSomethingAreRewrittenUntilLittleIsGarbage) {
  Open();
  WriteAll();
  Reopen();
  DeleteBut(3);
  ASSERT_TRUE(tier_->Reclaim().ok());
  const std::uint64_t live = tier_->bytes_used();
  ASSERT_EQ(live, kObjects / 3 * objects_[0].bytes.size());
  EXPECT_LE(BytesInFiles(), live / 4 * 5 + kMiB);
  ExpectKept(3);
  Reopen();
  ExpectKept(3);
}

TEST_F(ReclaimTest, LittleGarbageIsLeft) {
  Open();
  WriteAll();
  Reopen();
  const std::uint64_t before = BytesInFiles();
  for (std::size_t i = 1; i < 5; ++i) {
    ASSERT_TRUE(tier_->Delete(IdOf(objects_[i]), kAllLevels).ok());
  }
  ASSERT_TRUE(tier_->Reclaim().ok());
  EXPECT_GE(BytesInFiles(), before - kMiB);  // 4 of 48 are not worth rewriting 44
}

// Where others leave next to nothing, what is missing may be garbage of the tier's own.
TEST_F(ReclaimTest, NoGarbageIsTooLittleWhereTheFileSystemIsAllButFull) {
  auto files = std::make_shared<FaultyFileSystem>();
  files->Free(kMiB * kMiB);
  const auto env = rocksdb::NewCompositeEnv(files);
  tier_ = rocks::OpenRocksTierOn({.folder = dir_.File("tier"), .sync = false}, env.get()).value();
  WriteAll();
  for (std::size_t i = 1; i < 5; ++i) {
    ASSERT_TRUE(tier_->Delete(IdOf(objects_[i]), kAllLevels).ok());
  }
  ASSERT_TRUE(tier_->Reclaim().ok());
  const std::uint64_t before = BytesInFiles();
  const std::uint64_t whole = fs::space(dir_.File("tier")).capacity;
  const std::uint64_t little = std::min<std::uint64_t>(whole / 20, 1024 * kMiB) / 4 - 1;
  if (little < 2 * kObjects * kMiB) GTEST_SKIP() << "the file system is too small";
  files->Free(little);
  const TestObject refused = MakeObject({.seed = 99, .size_bytes = kMiB});
  const ConstBytes segment = SegmentOf(refused, Level::kExact);
  DiskTier::Segments segments;
  segments[static_cast<std::size_t>(Level::kExact)] = std::span(&segment, 1);
  EXPECT_EQ(tier_->Write(IdOf(refused), EncodeHeader(refused.header), segments).code(),
            Code::kResourceExhausted);
  ASSERT_TRUE(tier_->Reclaim().ok());
  EXPECT_LE(BytesInFiles(), before - 4 * kMiB + kMiB / 2);
  tier_.reset();  // before its file system
}

TEST_F(ReclaimTest, ItComesBackByItselfWithinItsTime) {
  Open();
  WriteAll();
  Reopen(std::chrono::milliseconds(20));
  DeleteBut(0);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (BytesInFiles() > kMiB && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_LE(BytesInFiles(), kMiB);
}

TEST_F(ReclaimTest, ValuesStayWhereTheyAreWhenNothingWasDeleted) {
  Open();
  WriteAll();
  Reopen();
  const auto number_of_newest = [&] {
    std::string newest;
    for (const auto& entry : fs::directory_iterator(dir_.File("tier") + "/rocks")) {
      if (entry.path().extension() == ".blob") newest = std::max(newest, entry.path().string());
    }
    return newest;
  };
  const std::string before = number_of_newest();
  ASSERT_TRUE(tier_->Reclaim().ok());
  EXPECT_EQ(number_of_newest(), before);
}

}  // namespace
}  // namespace kdn::storage::test
