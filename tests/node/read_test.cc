#include <gtest/gtest.h>

#include "base/limits.h"
#include "tests/node/node_world.h"

namespace kdn::test {
namespace {

using transport::PeerRole;

TEST(Read, OfSomeLayersAndHeadsBringsTheirTilesAlone) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  wire::ReadItem item = WholeOf(object);
  item.layers = {2, 2};
  item.kv_heads = {0, 2};
  const ReadOutcome outcome = ReadOne(client, item);
  ASSERT_EQ(outcome.item.code, Code::kOk);
  ASSERT_FALSE(outcome.entries.empty());
  std::size_t at = 0;
  for (const TileEntry& entry : outcome.entries) {
    EXPECT_TRUE(entry.at.layers.Intersects(item.layers));
    EXPECT_TRUE(entry.at.kv_heads.Intersects(item.kv_heads));
    EXPECT_TRUE(VerifyTile(TagOf(object.header), entry,
                           ConstBytes(outcome.tiles).subspan(at, entry.size_bytes)));
    at += entry.size_bytes;
  }
  EXPECT_EQ(at, outcome.tiles.size());
  EXPECT_LT(at, object.bytes.size() / 2);
}

TEST(Read, OfALargeObjectComesInSeveralPieces) {
  NodeWorld world;
  const TestObject object = MakeObject({.size_bytes = 9 * limits::kMiB});
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  const ReadOutcome outcome = ReadOne(client, WholeOf(object));
  EXPECT_GT(outcome.piece_count, 4U);
  ExpectWhole(outcome, object);
}

TEST(Read, IntoTheMiddleOfAWindowLeavesTheRestAlone) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  wire::ReadItem item = WholeOf(object);
  item.window_offset = 12345;
  ExpectWhole(ReadOne(client, item), object);
}

TEST(Read, OfManyObjectsAnswersEachByItself) {
  NodeWorld world;
  const TestObject here = MakeObject({.seed = 1});
  const TestObject missing = MakeObject({.seed = 2});
  world.Store(here, {0});
  wire::ReadRequest request;
  request.items = {WholeOf(missing), WholeOf(here)};
  request.items[1].window_offset = request.items[0].window_bytes;
  std::vector<std::byte> window(request.items[1].window_offset + request.items[1].window_bytes);
  wire::Buffer bytes;
  request.Encode(bytes);
  TestClient client = world.Connect(0);
  const Answer answer = client.Call(bytes, {}, window);
  ASSERT_EQ(answer.code, Code::kOk);
  const auto response = wire::ReadResponse::Decode(answer.response);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->items.at(0).code, Code::kNotFound);
  EXPECT_EQ(response->items.at(1).code, Code::kOk);
}

TEST(Read, UnderAnotherPutIdIsAMiss) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  wire::ReadItem item = WholeOf(object);
  item.put_id.bytes[15] ^= std::byte{1};
  EXPECT_EQ(ReadOne(client, item).item.code, Code::kNotFound);
}

TEST(Read, OfAnotherTenantsObjectIsAMiss) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient stranger = world.Connect(0, PeerRole::kClient, kOtherTenant);
  EXPECT_EQ(ReadOne(stranger, WholeOf(object)).item.code, Code::kNotFound);
  TestClient admin = world.Connect(0, PeerRole::kAdmin);
  EXPECT_EQ(ReadOne(admin, WholeOf(object)).item.code, Code::kNotFound);
}

TEST(Read, IntoTooSmallAShareOfTheWindowIsRefusedForThatObject) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  wire::ReadItem item = WholeOf(object);
  item.window_bytes = object.bytes.size() / 2;
  EXPECT_EQ(ReadOne(client, item).item.code, Code::kResourceExhausted);
}

TEST(Read, BeyondTheWindowIsRefused) {
  NodeWorld world;
  const TestObject object = MakeObject();
  world.Store(object, {0});
  wire::ReadRequest request;
  request.items = {WholeOf(object)};
  wire::Buffer bytes;
  request.Encode(bytes);
  std::vector<std::byte> window(1000);
  TestClient client = world.Connect(0);
  EXPECT_EQ(client.Call(bytes, {}, window).code, Code::kInvalidArgument);
}

TEST(Read, FromAWrongShardIsRefused) {
  NodeWorld world({.shards = 2});
  const TestObject object = MakeObject();
  TestClient client = world.Connect(0, PeerRole::kClient, kTenant, 1 - world.ShardOf(object));
  EXPECT_EQ(ReadOne(client, WholeOf(object)).call_code, Code::kInvalidArgument);
}

TEST(Read, ThatIsCancelledGivesItsLeaseBack) {
  NodeWorld world({.dram_mib = 12});
  const TestObject object = MakeObject({.seed = 1, .size_bytes = 9 * limits::kMiB});
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  wire::ReadRequest request;
  request.items = {WholeOf(object)};
  wire::Buffer bytes;
  request.Encode(bytes);
  std::vector<std::byte> window(request.items[0].window_bytes);
  for (int i = 0; i < 5; ++i) client.CallAndCancel(bytes, {}, window);
  // Only if no lease holds the first object can it give way to another of its size.
  const TestObject next = MakeObject({.seed = 2, .size_bytes = 9 * limits::kMiB});
  world.Store(next, {0});
  ExpectWhole(ReadOne(client, WholeOf(next)), next);
}

TEST(Read, AfterARestartFindsWhatWasOnDisk) {
  NodeWorld world({.write_mode = "write_through", .shards = 2});
  const TestObject object = MakeObject({.size_bytes = 500'000});
  world.Store(object, {0});
  world.Stop(0);
  world.Start(0);
  TestClient client = world.Connect(0, PeerRole::kClient, kTenant, world.ShardOf(object));
  ExpectWhole(ReadOne(client, WholeOf(object)), object);
}

}  // namespace
}  // namespace kdn::test
