// The node's small parts, each alone.
#include <gtest/gtest.h>

#include <fstream>

#include "node/config.h"
#include "node/inventory_outbox.h"
#include "node/local_state.h"
#include "tests/support/temp_dir.h"

namespace kdn::node {
namespace {

wire::InventoryEntry Entry(std::uint8_t number) {
  wire::InventoryEntry entry;
  entry.key.bytes[0] = static_cast<std::byte>(number);
  entry.in_dram = Level::kExact;
  return entry;
}

TEST(InventoryOutbox, TellsAFullReportOnceAllShardsHaveGivenTheirs) {
  InventoryOutbox outbox(2);
  EXPECT_TRUE(outbox.BeginFull());
  EXPECT_FALSE(outbox.BeginFull());  // one is being gathered
  outbox.SetSnapshot(0, {Entry(1)});
  outbox.AddChanges(0, {Entry(3)}, false);
  outbox.SetSnapshot(1, {Entry(2)});
  const auto full = outbox.Next();
  ASSERT_TRUE(full);
  EXPECT_TRUE(full->full && full->first && full->last);
  EXPECT_EQ(full->entries, (std::vector{Entry(1), Entry(2)}));
  const auto after = outbox.Next();
  ASSERT_TRUE(after);
  EXPECT_FALSE(after->full);
  EXPECT_EQ(after->entries, std::vector{Entry(3)});
}

// Else what is committed after the second's snapshot could be struck by the end of the first.
TEST(InventoryOutbox, BeginsNoReportBeforeTheLastOneIsThrough) {
  InventoryOutbox outbox(1);
  EXPECT_TRUE(outbox.BeginFull());
  outbox.SetSnapshot(0, {Entry(1)});
  EXPECT_FALSE(outbox.BeginFull());
  EXPECT_TRUE(outbox.Next()->last);
  EXPECT_FALSE(outbox.BeginFull());  // it is on its way
  outbox.AddChanges(0, {Entry(2)}, false);
  EXPECT_TRUE(outbox.Next());
  EXPECT_TRUE(outbox.BeginFull());
}

// The snapshot was asked for twice, since one report was given up.
TEST(InventoryOutbox, LosesNoChangeToASnapshotThatNobodyAwaits) {
  InventoryOutbox outbox(1);
  EXPECT_TRUE(outbox.BeginFull());
  outbox.Close();
  outbox.Reopen();
  EXPECT_TRUE(outbox.BeginFull());
  outbox.SetSnapshot(0, {Entry(1)});
  outbox.AddChanges(0, {Entry(2)}, false);
  outbox.SetSnapshot(0, {Entry(1), Entry(2)});
  EXPECT_EQ(outbox.Next()->entries, std::vector{Entry(1)});
  EXPECT_EQ(outbox.Next()->entries, std::vector{Entry(2)});
}

TEST(InventoryOutbox, DropsChangesThatASnapshotAlreadyHas) {
  InventoryOutbox outbox(1);
  outbox.AddChanges(0, {Entry(1)}, false);
  EXPECT_TRUE(outbox.BeginFull());
  outbox.SetSnapshot(0, {Entry(1), Entry(2)});
  outbox.AddChanges(0, {Entry(3)}, false);
  EXPECT_EQ(outbox.Next()->entries.size(), 2U);
  EXPECT_EQ(outbox.Next()->entries, std::vector{Entry(3)});
}

TEST(InventoryOutbox, CutsALargeReportIntoBatches) {
  InventoryOutbox outbox(1);
  EXPECT_TRUE(outbox.BeginFull());
  outbox.SetSnapshot(
      0, std::vector<wire::InventoryEntry>(2 * InventoryOutbox::kEntriesPerBatchMax + 1));
  const auto first = outbox.Next();
  const auto second = outbox.Next();
  const auto third = outbox.Next();
  EXPECT_TRUE(first->first && !first->last);
  EXPECT_TRUE(!second->first && !second->last);
  EXPECT_TRUE(!third->first && third->last);
  EXPECT_EQ(third->entries.size(), 1U);
}

TEST(InventoryOutbox, ReportsAnEmptyNodeToo) {
  InventoryOutbox outbox(1);
  EXPECT_TRUE(outbox.BeginFull());
  outbox.SetSnapshot(0, {});
  const auto full = outbox.Next();
  ASSERT_TRUE(full);
  EXPECT_TRUE(full->first && full->last && full->entries.empty());
}

TEST(InventoryOutbox, AsksForAFullReportOnceChangesWereLost) {
  InventoryOutbox outbox(1);
  outbox.AddChanges(0, {}, true);
  EXPECT_EQ(outbox.Next(), std::nullopt);
  EXPECT_TRUE(outbox.Overflowed());
  outbox.AddChanges(0, std::vector<wire::InventoryEntry>(InventoryOutbox::kChangesMax + 1), false);
  EXPECT_TRUE(outbox.Overflowed());
  EXPECT_TRUE(outbox.BeginFull());
  EXPECT_FALSE(outbox.Overflowed());
}

TEST(InventoryOutbox, GivesNothingMoreOnceClosed) {
  InventoryOutbox outbox(1);
  outbox.AddChanges(0, {Entry(1)}, false);
  outbox.Close();
  EXPECT_EQ(outbox.Next(), std::nullopt);
  outbox.Reopen();
  EXPECT_TRUE(outbox.Next());
}

TEST(LocalState, KeepsIdClusterAndEpochInFiles) {
  const test::TempDir folder;
  SystemRandom random;
  PeerId uuid;
  {
    LocalState local(nullptr, folder.path().string());
    EXPECT_EQ(local.EpochSeen().value(), Epoch{0});
    EXPECT_TRUE(local.Cluster().value().IsZero());
    uuid = local.Uuid(random).value();
    ASSERT_TRUE(local.RaiseEpoch(Epoch{3}).ok());
    ASSERT_TRUE(local.RaiseEpoch(Epoch{2}).ok());
    ASSERT_TRUE(local.SetCluster(ClusterId{{std::byte{1}}}).ok());
  }
  LocalState local(nullptr, folder.path().string());
  EXPECT_EQ(local.Uuid(random).value(), uuid);
  EXPECT_EQ(local.EpochSeen().value(), Epoch{3});
  EXPECT_EQ(local.Cluster().value(), (ClusterId{{std::byte{1}}}));
}

TEST(LocalState, ThatIsDamagedIsSaidNotGuessed) {
  const test::TempDir folder;
  {
    std::ofstream(folder.File("epoch_seen")) << "x";
    std::ofstream(folder.File("node_uuid")) << "too short";
  }
  LocalState local(nullptr, folder.path().string());
  SystemRandom random;
  EXPECT_EQ(local.EpochSeen().error().code(), Code::kDataLoss);
  EXPECT_EQ(local.Uuid(random).error().code(), Code::kDataLoss);
}

TEST(NodeConfig, HasDefaultsThatAreValid) {
  EXPECT_TRUE(ValidateConfig(NodeConfig{}).ok());
}

TEST(NodeConfig, RefusesPlaintextOffLoopbackUnlessToldOtherwise) {
  for (std::string NodeConfig::* key :
       {&NodeConfig::listen, &NodeConfig::coordinator, &NodeConfig::status_listen}) {
    NodeConfig config;
    config.*key = "10.0.0.1:7000";
    EXPECT_EQ(ValidateConfig(config).code(), Code::kInvalidArgument);
    config.insecure = true;
    EXPECT_TRUE(ValidateConfig(config).ok());
  }
}

TEST(NodeConfig, RefusesWhatIsNoEndpoint) {
  for (const char* endpoint :
       {"", "localhost", ":7000", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"}) {
    NodeConfig config;
    config.listen = endpoint;
    EXPECT_EQ(ValidateConfig(config).code(), Code::kInvalidArgument) << endpoint;
  }
}

TEST(NodeConfig, GivesEachShardAPort) {
  NodeConfig config;
  config.shards = 3;
  config.listen = "127.0.0.1:7000";
  EXPECT_EQ(ShardEndpoint(config, 2), "127.0.0.1:7002");
  config.listen = "127.0.0.1:0";
  EXPECT_EQ(ShardEndpoint(config, 2), "127.0.0.1:0");
  config.listen = "127.0.0.1:65534";
  EXPECT_EQ(ValidateConfig(config).code(), Code::kInvalidArgument);
  config.advertise_host = "node7.example";
  EXPECT_EQ(AdvertisedEndpoint(config, "127.0.0.1:7001"), "node7.example:7001");
}

}  // namespace
}  // namespace kdn::node
