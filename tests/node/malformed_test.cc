// Requests that are none: a node refuses them and goes on.
#include <gtest/gtest.h>

#include <array>

#include "base/random.h"
#include "tests/node/node_world.h"
#include "tests/proto/wire/message_cases.h"

namespace kdn::test {
namespace {

constexpr std::array<std::string_view, 6> kNodeRequests = {
    "read_request",           "put_piece_request",    "report_corrupt_request",
    "commit_objects_request", "drop_objects_request", "verify_objects_request"};

class MalformedRequest : public testing::TestWithParam<std::string_view> {};

TEST_P(MalformedRequest, IsInvalidAndTheNodeGoesOn) {
  NodeWorld world;
  const wire::Buffer sample = FindMessageCase(GetParam()).sample();
  for (const auto role : {transport::PeerRole::kClient, transport::PeerRole::kCoordinator}) {
    TestClient peer = world.Connect(0, role);
    for (std::size_t size = wire::kRequestHeadBytes; size < sample.size(); ++size) {
      const Code code = peer.Call(ConstBytes(sample).first(size)).code;
      // Only the coordinator is told that its orders make no sense.
      EXPECT_TRUE(code == Code::kInvalidArgument || code == Code::kPermissionDenied) << size;
    }
  }
  const TestObject object = MakeObject();
  world.Store(object, {0});
  TestClient client = world.Connect(0);
  ExpectWhole(ReadOne(client, WholeOf(object)), object);
}

TEST_P(MalformedRequest, WithRandomBytesInItCrashesNothing) {
  NodeWorld world;
  const wire::Buffer sample = FindMessageCase(GetParam()).sample();
  SeededRandom random(7);
  TestClient client = world.Connect(0);
  TestClient coordinator = world.Connect(0, transport::PeerRole::kCoordinator);
  for (int round = 0; round < 200; ++round) {
    wire::Buffer bytes = sample;
    for (int change = 0; change < 3; ++change) {
      bytes[random.Next() % bytes.size()] = static_cast<std::byte>(random.Next());
    }
    EXPECT_NE(client.Call(bytes).code, Code::kUnavailable);
    EXPECT_NE(coordinator.Call(bytes).code, Code::kInternal);
  }
}

INSTANTIATE_TEST_SUITE_P(Node, MalformedRequest, testing::ValuesIn(kNodeRequests),
                         [](const auto& one) { return std::string(one.param); });

TEST(Request, ThatOnlyACoordinatorAnswersIsUnimplemented) {
  NodeWorld world;
  TestClient client = world.Connect(0);
  for (const char* name : {"lookup_request", "put_start_request", "context_get_request"}) {
    EXPECT_EQ(client.Call(FindMessageCase(name).sample()).code, Code::kUnimplemented);
  }
}

TEST(Request, ShorterThanAHeadIsInvalid) {
  NodeWorld world;
  TestClient client = world.Connect(0);
  EXPECT_EQ(client.Call(wire::Buffer(5)).code, Code::kInvalidArgument);
}

TEST(Connection, UnderAWrongSecretIsRefused) {
  NodeWorld world;
  EXPECT_EQ(world.ConnectWith(0, transport::PeerRole::kClient, kTenant, "a guess"),
            Code::kUnauthenticated);
  EXPECT_EQ(world.ConnectWith(0, transport::PeerRole::kNode, {}, "a guess"),
            Code::kUnauthenticated);
  EXPECT_EQ(world.ConnectWith(0, transport::PeerRole::kClient, TenantId{99}, "a guess"),
            Code::kUnauthenticated);
}

}  // namespace
}  // namespace kdn::test
