#include <gtest/gtest.h>

#include "storage/disk_tier.h"
#include "tests/node/node_world.h"

namespace kdn::test {
namespace {

using transport::PeerRole;

template <class Request>
Request Order(Epoch epoch = kEpoch) {
  Request request;
  request.epoch = epoch;
  return request;
}

wire::ObjectCodesResponse CodesOf(const Answer& answer) {
  EXPECT_EQ(answer.code, Code::kOk);
  auto codes = wire::ObjectCodesResponse::Decode(answer.response);
  EXPECT_TRUE(codes);
  return codes ? *codes : wire::ObjectCodesResponse{};
}

// Flips a bit of a stored object behind the back of a node that is stopped.
void DamageOnDisk(const std::string& data_dir, const TestObject& object) {
  auto disk = storage::OpenRocksTier({.folder = data_dir + "/objects"}).value();
  const storage::ObjectId id{object.header.tenant, object.header.key, object.header.part.number,
                             object.header.put_id};
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  std::vector<std::byte> damaged(segment.begin(), segment.end());
  damaged.back() ^= std::byte{4};
  ASSERT_TRUE(disk->Delete(id, kAllLevels).ok());
  const ConstBytes runs[] = {damaged};
  storage::DiskTier::Segments segments{};
  segments[static_cast<std::size_t>(Level::kExact)] = runs;
  ASSERT_TRUE(disk->Write(id, EncodeHeader(object.header), segments).ok());
  ASSERT_TRUE(disk->Close().ok());
}

TEST(Control, OfAnyoneButTheCoordinatorIsRefused) {
  NodeWorld world;
  const TestObject object = MakeObject();
  auto commit = Order<wire::CommitObjectsRequest>();
  commit.objects = {{NameOf(object), object.digest}};
  auto drop = Order<wire::DropObjectsRequest>();
  drop.objects = {{NameOf(object), kAllLevels}};
  auto verify = Order<wire::VerifyObjectsRequest>();
  verify.objects = {NameOf(object)};
  for (const PeerRole role : {PeerRole::kClient, PeerRole::kNode, PeerRole::kAdmin}) {
    TestClient peer = world.Connect(0, role);
    EXPECT_EQ(peer.Send(commit).code, Code::kPermissionDenied);
    EXPECT_EQ(peer.Send(drop).code, Code::kPermissionDenied);
    EXPECT_EQ(peer.Send(verify).code, Code::kPermissionDenied);
  }
}

TEST(Control, OfAnEndedReignIsRefused) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  auto drop = Order<wire::DropObjectsRequest>(Epoch{4});
  drop.objects = {{NameOf(object), kAllLevels}};
  EXPECT_EQ(coordinator.Send(drop).code, Code::kFailedPrecondition);
  TestClient client = world.Connect(0);
  ExpectWhole(ReadOne(client, WholeOf(object)), object);
}

TEST(Control, OfANewReignEndsTheOldOneForGood) {
  NodeWorld world;
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  EXPECT_EQ(coordinator.Send(Order<wire::DropObjectsRequest>(Epoch{7})).code, Code::kOk);
  EXPECT_EQ(coordinator.Send(Order<wire::DropObjectsRequest>(Epoch{6})).code,
            Code::kFailedPrecondition);
  world.Stop(0);
  world.Start(0);
  TestClient again = world.Connect(0, PeerRole::kCoordinator);
  EXPECT_EQ(again.Send(Order<wire::DropObjectsRequest>(Epoch{6})).code, Code::kFailedPrecondition);
}

TEST(Control, CommitToldTwiceIsAnsweredAsTheFirst) {
  NodeWorld world({.write_mode = "write_through"});
  const TestObject object = MakeObject();
  world.Store(object, {0});
  const auto codes = world.Commit(0, object);
  EXPECT_EQ(codes.objects.at(0).code, Code::kOk);
  EXPECT_EQ(codes.objects.at(0).on_disk, LevelSet(Level::kExact));
}

TEST(Control, CommitWithAnotherDigestIsRefused) {
  NodeWorld world;
  TestObject object = MakeObject();
  TestClient client = world.Connect(0);
  world.Put(client, object, world.TicketFor({&object}, {0}), object.bytes.size());
  object.digest.checksum.bytes[0] ^= std::byte{1};
  EXPECT_EQ(world.Commit(0, object).objects.at(0).code, Code::kNotFound);
}

TEST(Control, DropMakesAnObjectAMiss) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  auto drop = Order<wire::DropObjectsRequest>();
  drop.objects = {{NameOf(object), kAllLevels}};
  EXPECT_EQ(CodesOf(coordinator.Send(drop)).objects.at(0).code, Code::kOk);
  TestClient client = world.Connect(0);
  EXPECT_EQ(ReadOne(client, WholeOf(object)).item.code, Code::kNotFound);
}

TEST(Control, VerifyPassesSoundObjectsAndMissesOthers) {
  NodeWorld world({.write_mode = "write_through"});
  const TestObject sound = MakeObject({.seed = 1});
  const TestObject unknown = MakeObject({.seed = 2});
  world.Store(sound, {0});
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  auto verify = Order<wire::VerifyObjectsRequest>();
  verify.objects = {NameOf(sound), NameOf(unknown)};
  const auto codes = CodesOf(coordinator.Send(verify));
  EXPECT_EQ(codes.objects.at(0).code, Code::kOk);
  EXPECT_EQ(codes.objects.at(0).on_disk, LevelSet(Level::kExact));
  EXPECT_EQ(codes.objects.at(1).code, Code::kNotFound);
}

TEST(Control, VerifyFindsDamageOnDiskAndDropsIt) {
  NodeWorld world({.write_mode = "write_through"});
  const TestObject object = MakeObject();
  world.Store(object, {0});
  world.Stop(0);
  DamageOnDisk(world.DataDir(0), object);
  world.Start(0);
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  auto verify = Order<wire::VerifyObjectsRequest>();
  verify.objects = {NameOf(object)};
  EXPECT_EQ(CodesOf(coordinator.Send(verify)).objects.at(0).code, Code::kDataLoss);
  TestClient client = world.Connect(0);
  EXPECT_EQ(ReadOne(client, WholeOf(object)).item.code, Code::kNotFound);
}

TEST(ReportCorrupt, GetsADamagedObjectDroppedAndSparesASoundOne) {
  NodeWorld world({.write_mode = "write_through"});
  const TestObject damaged = MakeObject({.seed = 1});
  const TestObject sound = MakeObject({.seed = 2});
  world.Store(damaged, {0});
  world.Store(sound, {0});
  world.Stop(0);
  DamageOnDisk(world.DataDir(0), damaged);
  world.Start(0);
  TestClient client = world.Connect(0);
  for (const TestObject* object : {&damaged, &sound}) {
    wire::ReportCorruptRequest report;
    report.key = object->header.key;
    report.put_id = object->header.put_id;
    EXPECT_EQ(client.Send(report).code, Code::kOk);
  }
  // The check runs on the disk's threads; reads in between may still see the object.
  while (ReadOne(client, WholeOf(damaged)).item.code != Code::kNotFound) {
  }
  ExpectWhole(ReadOne(client, WholeOf(sound)), sound);
}

TEST(ReportCorrupt, OfAnotherTenantsObjectDoesNothing) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient stranger = world.Connect(0, PeerRole::kClient, kOtherTenant);
  wire::ReportCorruptRequest report;
  report.key = object.header.key;
  report.put_id = object.header.put_id;
  EXPECT_EQ(stranger.Send(report).code, Code::kOk);
  TestClient client = world.Connect(0);
  ExpectWhole(ReadOne(client, WholeOf(object)), object);
}

}  // namespace
}  // namespace kdn::test
