#include <gtest/gtest.h>

#include <algorithm>

#include "base/limits.h"
#include "tests/node/node_world.h"

namespace kdn::test {
namespace {

using transport::PeerRole;

wire::PutPieceResponse ResponseOf(const Answer& answer) {
  EXPECT_EQ(answer.code, Code::kOk);
  auto response = wire::PutPieceResponse::Decode(answer.response);
  EXPECT_TRUE(response);
  return response ? *response : wire::PutPieceResponse{};
}

TEST(Put, InPiecesOutOfOrderIsAcknowledgedWithTheLastAndReadAfterItsCommit) {
  NodeWorld world({.write_mode = "write_through"});
  const TestObject object = MakeObject({.size_bytes = 300'000});
  TestClient client = world.Connect(0);
  const auto answers = world.Put(client, object, world.TicketFor({&object}, {0}), 70'000, true);
  ASSERT_EQ(answers.size(), 5U);
  for (std::size_t i = 0; i + 1 < answers.size(); ++i) {
    EXPECT_TRUE(ResponseOf(answers[i]).acks.empty());
  }
  const std::vector<wire::ReplicaAck> acks = {{NodeWorld::IdOf(0), object.digest}};
  EXPECT_EQ(ResponseOf(answers.back()).acks, acks);

  EXPECT_EQ(ReadOne(client, WholeOf(object)).item.code, Code::kNotFound);  // not yet visible
  const auto codes = world.Commit(0, object);
  ASSERT_EQ(codes.objects.size(), 1U);
  EXPECT_EQ(codes.objects[0].code, Code::kOk);
  EXPECT_EQ(codes.objects[0].on_disk, LevelSet(Level::kExact));
  ExpectWhole(ReadOne(client, WholeOf(object)), object);
}

TEST(Put, IsForwardedToTheNextReplicasAndAcknowledgedByAll) {
  NodeWorld world({.nodes = 3});
  const TestObject object = MakeObject({.size_bytes = 100'000});
  TestClient client = world.Connect(0);
  const auto answers = world.Put(client, object, world.TicketFor({&object}, {0, 1, 2}), 40'000);
  const wire::PutPieceResponse last = ResponseOf(answers.back());
  const std::vector<wire::ReplicaAck> acks = {{NodeWorld::IdOf(0), object.digest},
                                              {NodeWorld::IdOf(1), object.digest},
                                              {NodeWorld::IdOf(2), object.digest}};
  EXPECT_EQ(last.acks, acks);
  EXPECT_TRUE(last.failed.empty());
  for (const std::size_t index : {1U, 2U}) {
    EXPECT_EQ(world.Commit(index, object).objects.at(0).code, Code::kOk);
    TestClient reader = world.Connect(index);
    ExpectWhole(ReadOne(reader, WholeOf(object)), object);
  }
}

TEST(Put, AClientSendsItselfToAReplicaThatForwardingDidNotReach) {
  NodeWorld world({.nodes = 2});
  const TestObject object = MakeObject();
  const wire::Buffer ticket = world.Seal(world.TicketFor({&object}, {0, 1}));
  wire::PutPieceRequest piece = PieceOf(object, ticket, 0, object.bytes.size());
  piece.hop = 1;
  TestClient client = world.Connect(1);
  const std::vector<wire::ReplicaAck> acks = {{NodeWorld::IdOf(1), object.digest}};
  EXPECT_EQ(ResponseOf(client.Send(piece, object.bytes)).acks, acks);
  EXPECT_EQ(world.Commit(1, object).objects.at(0).code, Code::kOk);
}

TEST(Put, NamesADeadReplicaAndStillReachesTheOneAfterIt) {
  NodeWorld world({.nodes = 3});
  world.Stop(1);
  const TestObject object = MakeObject();
  TestClient client = world.Connect(0);
  const auto answers =
      world.Put(client, object, world.TicketFor({&object}, {0, 1, 2}), object.bytes.size());
  const wire::PutPieceResponse response = ResponseOf(answers.back());
  const std::vector<wire::ReplicaAck> acks = {{NodeWorld::IdOf(0), object.digest},
                                              {NodeWorld::IdOf(2), object.digest}};
  EXPECT_EQ(response.acks, acks);
  EXPECT_EQ(response.failed, std::vector<NodeId>{NodeWorld::IdOf(1)});
}

TEST(Put, ToAReplicaThatHasRestartedIsForwardedAgain) {
  NodeWorld world({.nodes = 2});
  const TestObject first = MakeObject({.seed = 1});
  world.Store(first, {0, 1});
  world.Stop(1);
  world.Start(1);
  const TestObject second = MakeObject({.seed = 2});
  TestClient client = world.Connect(0);
  const auto answers =
      world.Put(client, second, world.TicketFor({&second}, {0, 1}), second.bytes.size());
  EXPECT_EQ(ResponseOf(answers.back()).acks.size(), 2U);
}

TEST(Put, OfDamagedBytesIsNotAcknowledged) {
  NodeWorld world;
  TestObject object = MakeObject();
  object.bytes.back() ^= std::byte{1};
  TestClient client = world.Connect(0);
  const auto answers =
      world.Put(client, object, world.TicketFor({&object}, {0}), object.bytes.size());
  EXPECT_EQ(answers.back().code, Code::kDataLoss);
  EXPECT_EQ(world.Commit(0, object).objects.at(0).code, Code::kNotFound);
}

// What is wrong with a ticket or a piece, and what the node answers.
struct Wrong {
  const char* name;
  Code code;
  void (*spoil)(wire::Ticket& ticket, wire::PutPieceRequest& piece);
};

class WrongPut : public testing::TestWithParam<Wrong> {};

TEST_P(WrongPut, IsRefusedAndTakesNoRoom) {
  NodeWorld world({.nodes = 2});
  const TestObject object = MakeObject();
  wire::Ticket ticket = world.TicketFor({&object}, {0, 1});
  wire::PutPieceRequest piece = PieceOf(object, {}, 0, object.bytes.size());
  GetParam().spoil(ticket, piece);
  if (piece.ticket.empty()) piece.ticket = world.Seal(ticket);
  TestClient client = world.Connect(0);
  EXPECT_EQ(client.Send(piece, object.bytes).code, GetParam().code);
  EXPECT_EQ(world.Commit(0, object).objects.at(0).code, Code::kNotFound);
}

INSTANTIATE_TEST_SUITE_P(
    Node, WrongPut,
    testing::Values(
        Wrong{"Forged", Code::kPermissionDenied,
              [](wire::Ticket& ticket, wire::PutPieceRequest& piece) {
                piece.ticket = wire::SealTicket(ticket, HmacKey(AsBytes("a guess")));
              }},
        Wrong{"NoTicket", Code::kPermissionDenied,
              [](wire::Ticket&, wire::PutPieceRequest& piece) {
                piece.ticket.assign(100, std::byte{1});
              }},
        Wrong{"Expired", Code::kPermissionDenied,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) {
                ticket.expires_ms = kCoordinatorNowMs;
              }},
        Wrong{"OfAnOldEpoch", Code::kFailedPrecondition,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) { ticket.epoch = Epoch{4}; }},
        Wrong{"OfAnotherTenant", Code::kPermissionDenied,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) { ticket.tenant = kOtherTenant; }},
        Wrong{"ForAnotherNode", Code::kPermissionDenied,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) {
                ticket.nodes = {NodeWorld::IdOf(1)};
              }},
        Wrong{"ForAnotherKey", Code::kPermissionDenied,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) {
                ticket.keys[0].bytes[0] ^= std::byte{1};
              }},
        Wrong{"OfTooManyBytes", Code::kInvalidArgument,
              [](wire::Ticket& ticket, wire::PutPieceRequest&) { --ticket.object_bytes_max; }},
        Wrong{"OfAPartTooMany", Code::kInvalidArgument,
              [](wire::Ticket&, wire::PutPieceRequest& piece) { piece.part = 1; }},
        Wrong{"WithoutItsBytes", Code::kInvalidArgument,
              [](wire::Ticket&, wire::PutPieceRequest& piece) { --piece.size_bytes; }}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(Put, OfAHigherEpochIsTakenOnceTheNodeHasKeptThatEpoch) {
  NodeWorld world;
  const TestObject object = MakeObject();
  wire::Ticket ticket = world.TicketFor({&object}, {0});
  ticket.epoch = Epoch{9};
  TestClient client = world.Connect(0);
  EXPECT_EQ(world.Put(client, object, ticket, 20'000).back().code, Code::kOk);
  EXPECT_EQ(world.node(0).state().epoch(), Epoch{9});
  world.Stop(0);
  world.Start(0);
  EXPECT_EQ(world.node(0).state().epoch(), Epoch{9});
}

TEST(Put, WithoutContactToTheCoordinatorIsRefusedWhileReadsGoOn) {
  NodeWorld world;
  const TestObject kept = MakeObject({.seed = 1});
  world.Store(kept, {0});
  world.clock.Advance(std::chrono::milliseconds(1500));
  const TestObject fresh = MakeObject({.seed = 2});
  TestClient client = world.Connect(0);
  const wire::Ticket ticket = world.TicketFor({&fresh}, {0});
  EXPECT_EQ(world.Put(client, fresh, ticket, fresh.bytes.size())[0].code, Code::kUnavailable);
  ExpectWhole(ReadOne(client, WholeOf(kept)), kept);
  world.Hear();
  EXPECT_EQ(world.Put(client, fresh, ticket, fresh.bytes.size())[0].code, Code::kOk);
}

TEST(Put, ThatIsAbandonedGivesItsRoomBackWhenItsTicketExpires) {
  NodeWorld world({.dram_mib = 4});
  const std::size_t size_bytes = 3 * limits::kMiB;
  const TestObject abandoned = MakeObject({.seed = 1, .size_bytes = size_bytes});
  const TestObject next = MakeObject({.seed = 2, .size_bytes = size_bytes});
  TestClient client = world.Connect(0);
  const wire::Buffer sealed = world.Seal(world.TicketFor({&abandoned}, {0}));
  ASSERT_EQ(
      client.Send(PieceOf(abandoned, sealed, 0, 1000), ConstBytes(abandoned.bytes).first(1000))
          .code,
      Code::kOk);
  wire::Ticket ticket = world.TicketFor({&next}, {0});
  EXPECT_EQ(world.Put(client, next, ticket, size_bytes)[0].code, Code::kResourceExhausted);
  world.clock.Advance(std::chrono::seconds(11));
  world.Hear();
  ticket.expires_ms += 11'000;
  EXPECT_EQ(world.Put(client, next, ticket, size_bytes)[0].code, Code::kOk);
}

TEST(Put, AbortedByTheCoordinatorGivesItsRoomBackAtOnce) {
  NodeWorld world({.dram_mib = 4});
  const std::size_t size_bytes = 3 * limits::kMiB;
  const TestObject aborted = MakeObject({.seed = 1, .size_bytes = size_bytes});
  const TestObject next = MakeObject({.seed = 2, .size_bytes = size_bytes});
  TestClient client = world.Connect(0);
  const wire::Ticket ticket = world.TicketFor({&aborted}, {0});
  ASSERT_EQ(world.Put(client, aborted, ticket, size_bytes)[0].code, Code::kOk);
  TestClient coordinator = world.Connect(0, PeerRole::kCoordinator);
  wire::DropObjectsRequest drop;
  drop.epoch = kEpoch;
  drop.objects = {{NameOf(aborted), kAllLevels}};
  ASSERT_EQ(coordinator.Send(drop).code, Code::kOk);
  EXPECT_EQ(world.Put(client, next, world.TicketFor({&next}, {0}), size_bytes)[0].code, Code::kOk);
}

TEST(Put, ToAWrongShardIsRefused) {
  NodeWorld world({.shards = 2});
  const TestObject object = MakeObject();
  const std::uint32_t wrong = 1 - world.ShardOf(object);
  TestClient client = world.Connect(0, PeerRole::kClient, kTenant, wrong);
  const auto answers =
      world.Put(client, object, world.TicketFor({&object}, {0}), object.bytes.size());
  EXPECT_EQ(answers[0].code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn::test
