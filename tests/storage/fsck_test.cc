// The check of a disk tier that no process has open: what it finds, what it repairs, and that it
// changes nothing unless told to.
#include "storage/fsck.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/limits.h"
#include "storage/disk_tier.h"
#include "storage/rocks/database.h"
#include "storage/rocks/records.h"
#include "tests/storage/store_driver.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

namespace fs = std::filesystem;

class FsckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tier = OpenRocksTier({.folder = folder_, .sync = false}).value();
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      objects_.push_back(
          MakeObject({.seed = seed, .size_bytes = 2 * limits::kMiB, .levels = kAllLevels}));
      DiskTier::Segments segments;
      std::array<ConstBytes, kLevelCount> runs;
      for (const LevelInfo& info : Levels()) {
        const auto level = static_cast<std::size_t>(info.level);
        runs[level] = SegmentOf(objects_.back(), info.level);
        segments[level] = std::span(&runs[level], 1);
      }
      ASSERT_TRUE(
          tier->Write(IdOf(objects_.back()), EncodeHeader(objects_.back().header), segments).ok());
    }
    ASSERT_TRUE(tier->Close().ok());
  }
  FsckReport Check(bool repair = false) {
    auto report = CheckDiskTier({.folder = folder_, .repair = repair, .progress = {}});
    EXPECT_TRUE(report.has_value()) << report.error().ToString();
    return report ? *std::move(report) : FsckReport();
  }
  // Turns bits over in the middle of a segment, wherever it lies on disk.
  void Corrupt(const TestObject& object, Level level) {
    const ConstBytes segment = SegmentOf(object, level);
    const std::string_view wanted = AsText(segment.subspan(segment.size() / 2, 64));
    for (const auto& entry : fs::directory_iterator(folder_ + "/rocks")) {
      if (entry.path().extension() != ".blob") continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      const std::size_t at = bytes.find(wanted);
      if (at == std::string::npos) continue;
      file.clear();
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(bytes[at] ^ 1));
      return;
    }
    FAIL() << "the segment is in no file";
  }
  std::map<std::string, std::pair<std::uintmax_t, fs::file_time_type>> Files() const {
    std::map<std::string, std::pair<std::uintmax_t, fs::file_time_type>> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file() || entry.path().filename().string().starts_with("LOG")) continue;
      files[entry.path()] = {entry.file_size(), entry.last_write_time()};
    }
    return files;
  }
  std::map<ChunkKey, LevelSet> Scanned() {
    std::map<ChunkKey, LevelSet> found;
    auto tier = OpenRocksTier({.folder = folder_, .sync = false}).value();
    EXPECT_TRUE(tier->Scan([&](const ObjectId& id, const ObjectHeader&, LevelSet levels) {
                      found[id.key] = levels;
                    })
                    .ok());
    return found;
  }

  const kdn::test::TempDir dir_;
  const std::string folder_ = dir_.File("tier");
  std::vector<TestObject> objects_;
};

TEST_F(FsckTest, SoundTierIsSoundAndUnchanged) {
  const auto before = Files();
  const FsckReport report = Check();
  EXPECT_TRUE(report.Sound());
  EXPECT_EQ(report.format, rocks::kFormatVersion);
  EXPECT_EQ(report.objects, 3U);
  EXPECT_EQ(report.bytes, 3 * (objects_[0].bytes.size() - kObjectHeaderBytes));
  EXPECT_EQ(Files(), before);
}

TEST_F(FsckTest, BadBytesAreFoundNamedAndRepairedWithTheFinerLevels) {
  Corrupt(objects_[1], Level::kFine);
  const auto before = Files();
  for (int i = 0; i < 2; ++i) {
    const FsckReport report = Check();
    ASSERT_EQ(report.bad_levels.size(), 1U);
    EXPECT_EQ(report.bad_levels[0].id, IdOf(objects_[1]));
    EXPECT_EQ(report.bad_levels[0].level, Level::kFine);
    EXPECT_FALSE(report.repaired);
  }
  EXPECT_EQ(Files(), before);
  EXPECT_TRUE(Check(/*repair=*/true).repaired);
  EXPECT_TRUE(Check().Sound());
  const auto found = Scanned();
  EXPECT_EQ(found.at(objects_[1].header.key), LevelSet(Level::kDraft) | Level::kStandard);
  EXPECT_EQ(found.at(objects_[0].header.key), kAllLevels);
  EXPECT_EQ(found.at(objects_[2].header.key), kAllLevels);
}

TEST_F(FsckTest, WhatBelongsToNothingAndWhatMissesItsBytesIsFoundAndRepaired) {
  {
    rocks::Database db(folder_, rocksdb::Env::Default());
    ASSERT_TRUE(db.Open().ok());
    std::string lost = rocks::NameKey(IdOf(objects_[0]));
    std::string orphan = rocks::NameKey(IdOf(MakeObject({.seed = 77})));
    const std::string bad_record = rocks::NameKey(IdOf(MakeObject({.seed = 78})));
    rocks::SetSlice(lost, 0);
    rocks::SetSlice(orphan, 0);
    ASSERT_TRUE(db.Write(true, [&](rocks::Database::Batch& batch) {
                    batch.Delete(rocks::FamilyOf(Level::kDraft), lost);
                    batch.Put(rocks::FamilyOf(Level::kExact), orphan, std::string(10'000, 'x'));
                    batch.Put(rocks::Family::kObjects, bad_record, "no record");
                  }).ok());
  }
  const FsckReport report = Check();
  EXPECT_EQ(report.orphan_slices, 1U);
  EXPECT_EQ(report.orphan_bytes, 10'000U);
  EXPECT_EQ(report.bad_records, 1U);
  ASSERT_EQ(report.bad_levels.size(), 1U);
  EXPECT_EQ(report.bad_levels[0].level, Level::kDraft);
  EXPECT_TRUE(Check(/*repair=*/true).repaired);
  EXPECT_TRUE(Check().Sound());
  // Without its coarsest level nothing of the object can be decoded.
  EXPECT_EQ(Scanned().size(), 2U);
}

TEST_F(FsckTest, WhatCannotBeCheckedIsSaid) {
  EXPECT_EQ(CheckDiskTier({.folder = dir_.File("nothing"), .progress = {}}).error().code(),
            Code::kNotFound);
  const auto tier = OpenRocksTier({.folder = folder_, .sync = false}).value();
  for (const bool repair : {false, true}) {
    EXPECT_EQ(CheckDiskTier({.folder = folder_, .repair = repair, .progress = {}}).error().code(),
              Code::kFailedPrecondition);
  }
}

}  // namespace
}  // namespace kdn::storage::test
