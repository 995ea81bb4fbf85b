// Tiers of every format version there has been are opened, read, written and checked.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "storage/disk_tier.h"
#include "storage/fsck.h"
#include "tests/storage/golden_store.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

namespace fs = std::filesystem;

class GoldenStoreTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    fs::copy(std::string(KDN_GOLDEN_STORES) + "/" + GetParam(), folder_,
             fs::copy_options::recursive);
  }
  // All levels of the objects from `first` to `last`, byte for byte.
  void ExpectObjects(DiskTier& tier, std::size_t first, std::size_t last) {
    for (std::size_t number = first; number <= last; ++number) {
      const TestObject object = GoldenObject(number);
      for (const LevelInfo& info : Levels()) {
        if (!object.header.levels_encoded.Has(info.level)) continue;
        const ConstBytes right = SegmentOf(object, info.level);
        std::vector<std::byte> bytes(right.size());
        const MutableBytes out(bytes);
        const Status read = tier.Read(IdOf(object), info.level, 0, std::span(&out, 1));
        ASSERT_TRUE(read.ok()) << read.ToString();
        EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), right.begin()));
      }
    }
  }

  const kdn::test::TempDir dir_;
  const std::string folder_ = dir_.File("tier");
};

TEST_P(GoldenStoreTest, IsOpenedReadAndWritten) {
  auto tier = OpenRocksTier({.folder = folder_});
  ASSERT_TRUE(tier.has_value()) << tier.error().ToString();
  std::map<ChunkKey, LevelSet> found;
  ASSERT_TRUE((*tier)
                  ->Scan([&](const ObjectId& id, const ObjectHeader&, LevelSet levels) {
                    found[id.key] = levels;
                  })
                  .ok());
  ASSERT_EQ(found.size(), kGoldenObjects);
  for (std::size_t number = 0; number < kGoldenObjects; ++number) {
    const TestObject object = GoldenObject(number);
    EXPECT_EQ(found.at(object.header.key), object.header.levels_encoded);
  }
  ExpectObjects(**tier, 0, kGoldenObjects - 1);
  ASSERT_TRUE((*tier)->Delete(IdOf(GoldenObject(0)), kAllLevels).ok());
  ASSERT_TRUE(WriteGolden(**tier, 0));
  ASSERT_TRUE((*tier)->Delete(IdOf(GoldenObject(1)), kAllLevels).ok());
  ASSERT_TRUE((*tier)->Reclaim().ok());
  ASSERT_TRUE((*tier)->Close().ok());
  tier = OpenRocksTier({.folder = folder_});
  ASSERT_TRUE(tier.has_value()) << tier.error().ToString();
  ExpectObjects(**tier, 0, 0);
  ExpectObjects(**tier, 2, 2);
}

TEST_P(GoldenStoreTest, IsSound) {
  const auto report = CheckDiskTier({.folder = folder_, .progress = {}});
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_TRUE(report->Sound());
  EXPECT_EQ(report->objects, kGoldenObjects);
}

INSTANTIATE_TEST_SUITE_P(AllFormats, GoldenStoreTest, ::testing::Values("v1"),
                         [](const auto& version) { return std::string(version.param); });

}  // namespace
}  // namespace kdn::storage::test
