// What was put back is what was backed up, whatever the coordinator did meanwhile, and nothing that
// is there is lost to a restore.
#include "coordinator/service/restore.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/random.h"
#include "coordinator/core/hard_state.h"
#include "coordinator/metastore/metastore.h"
#include "proto/backup/backup.h"
#include "tests/support/temp_dir.h"

namespace kdn::coordinator {
namespace {

class RestoreTest : public testing::Test {
 protected:
  static CoordinatorConfig ConfigFor(const std::string& folder) {
    CoordinatorConfig config;
    config.data_dir = folder;
    return config;
  }

  // Begins a reign in `folder` and writes some contexts; their state.
  HardState Reign(const std::string& folder, int contexts) {
    std::filesystem::create_directories(folder);
    auto store = OpenMetastore("rocksdb", MetastoreFolder(ConfigFor(folder)));
    EXPECT_TRUE(store) << store.error().ToString();
    auto state = BeginReign(**store, ClusterId{}, random_);
    EXPECT_TRUE(state) << state.error().ToString();
    MetaBatch batch;
    for (int i = 0; i < contexts; ++i) {
      Context context;
      context.id = {TenantId{7}, "context-" + std::to_string(i)};
      context.revision = 1;
      for (int key = 0; key < 300; ++key) context.keys.push_back(RandomId<ChunkKey>(random_));
      PutContext(context, 0, 0, batch);
      state->contexts.push_back(context);
    }
    EXPECT_TRUE((*store)->Write(batch).ok());
    return *state;
  }

  // Writes a backup of what `folder` has.
  std::string BackUp(const std::string& folder, Epoch epoch, const ClusterId& cluster) {
    auto store = OpenMetastore("rocksdb", MetastoreFolder(ConfigFor(folder)));
    EXPECT_TRUE(store);
    const std::string path = folder_.File("backup");
    std::ofstream file(path, std::ios::binary);
    backup::Writer writer({.cluster = cluster, .epoch = epoch, .written_s = 1},
                          [&](ConstBytes bytes) {
                            file << AsText(bytes);
                            return Status();
                          });
    const auto snapshot = (*store)->TakeSnapshot();
    EXPECT_TRUE(snapshot
                    ->Scan("", [&](std::string_view key,
                                   std::string_view value) { return writer.Add(key, value); })
                    .ok());
    EXPECT_TRUE(writer.Finish().ok());
    return path;
  }

  HardState StateIn(const std::string& folder) {
    auto store = OpenMetastore("rocksdb", MetastoreFolder(ConfigFor(folder)));
    EXPECT_TRUE(store);
    return BeginReign(**store, ClusterId{}, random_).value();
  }

  test::TempDir folder_;
  SystemRandom random_;
};

TEST_F(RestoreTest, PutsBackWhatWasThereUnderALaterEpoch) {
  const HardState state = Reign(folder_.File("old"), 20);
  const std::string file = BackUp(folder_.File("old"), state.epoch, state.cluster);
  const auto restored = RestoreBackup(ConfigFor(folder_.File("new")), file, false, Epoch{1000});
  ASSERT_TRUE(restored) << restored.error().ToString();
  EXPECT_EQ(restored->cluster, state.cluster);
  EXPECT_EQ(restored->next_epoch, Epoch{1001});
  EXPECT_TRUE(restored->replaced.empty());
  const HardState after = StateIn(folder_.File("new"));
  EXPECT_EQ(after.epoch, Epoch{1001});
  EXPECT_EQ(after.cluster, state.cluster);
  ASSERT_EQ(after.contexts.size(), 20U);
  std::map<ContextName, Context> expected;
  for (const Context& context : state.contexts) expected[context.id] = context;
  for (const Context& context : after.contexts) EXPECT_EQ(context, expected[context.id]);
}

TEST_F(RestoreTest, NeverGoesBackBehindAnEpochThatWasUsed) {
  const HardState state = Reign(folder_.File("old"), 1);
  const std::string file = BackUp(folder_.File("old"), state.epoch, state.cluster);
  Epoch last{};
  for (int i = 0; i < 5; ++i) last = StateIn(folder_.File("old")).epoch;
  const auto restored = RestoreBackup(ConfigFor(folder_.File("old")), file, true, Epoch{});
  ASSERT_TRUE(restored);
  EXPECT_GT(restored->next_epoch, last);
  EXPECT_EQ(StateIn(folder_.File("old")).epoch, restored->next_epoch);
}

TEST_F(RestoreTest, OverHardStateIsRefusedUnlessItMayBePutAside) {
  const HardState first = Reign(folder_.File("first"), 3);
  const std::string file = BackUp(folder_.File("first"), first.epoch, first.cluster);
  const HardState second = Reign(folder_.File("second"), 5);
  const auto config = ConfigFor(folder_.File("second"));
  EXPECT_EQ(RestoreBackup(config, file, false, Epoch{}).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(StateIn(folder_.File("second")).cluster, second.cluster);
  const auto restored = RestoreBackup(config, file, true, Epoch{});
  ASSERT_TRUE(restored);
  EXPECT_EQ(StateIn(folder_.File("second")).cluster, first.cluster);
  // And what was there is where it says.
  auto aside = OpenMetastore("rocksdb", restored->replaced);
  ASSERT_TRUE(aside);
  EXPECT_EQ(BeginReign(**aside, ClusterId{}, random_).value().contexts.size(), 5U);
}

TEST_F(RestoreTest, UnderARunningCoordinatorIsRefused) {
  const HardState state = Reign(folder_.File("old"), 1);
  const std::string file = BackUp(folder_.File("old"), state.epoch, state.cluster);
  const auto config = ConfigFor(folder_.File("old"));
  auto running = OpenMetastore("rocksdb", MetastoreFolder(config));
  ASSERT_TRUE(running);
  EXPECT_EQ(RestoreBackup(config, file, true, Epoch{}).error().code(), Code::kFailedPrecondition);
}

TEST_F(RestoreTest, OfADamagedFileLeavesEverythingAsItWas) {
  const HardState state = Reign(folder_.File("old"), 2);
  const std::string file = BackUp(folder_.File("old"), state.epoch, state.cluster);
  {
    std::fstream damaged(file, std::ios::binary | std::ios::in | std::ios::out);
    damaged.seekp(200);
    damaged.put('\x55');
  }
  const auto config = ConfigFor(folder_.File("old"));
  EXPECT_EQ(RestoreBackup(config, file, true, Epoch{}).error().code(), Code::kDataLoss);
  EXPECT_EQ(StateIn(folder_.File("old")).contexts.size(), 2U);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.File("old"))) {
    EXPECT_EQ(entry.path().filename(), "metastore");
  }
  EXPECT_EQ(RestoreBackup(config, folder_.File("nowhere"), true, Epoch{}).error().code(),
            Code::kNotFound);
}

}  // namespace
}  // namespace kdn::coordinator
