#include "base/endpoint.h"

#include <gtest/gtest.h>

namespace kdn {
namespace {

TEST(Endpoint, SplitsAtTheLastColon) {
  const auto name = SplitEndpoint("node-3.rack:7400");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->host, "node-3.rack");
  EXPECT_EQ(name->port, 7400);

  const auto v6 = SplitEndpoint("[::1]:0");
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(v6->host, "[::1]");
  EXPECT_EQ(v6->port, 0);
}

TEST(Endpoint, RefusesWhatIsNoEndpoint) {
  for (const char* text :
       {"", "host", ":80", "host:", "host:x", "host:80x", "host:65536", "host:-1", "host: 80"}) {
    EXPECT_FALSE(SplitEndpoint(text).has_value()) << text;
  }
}

TEST(Endpoint, KnowsLoopbackByItsText) {
  EXPECT_TRUE(IsLoopback("127.0.0.1"));
  EXPECT_TRUE(IsLoopback("127.4.0.1"));
  EXPECT_TRUE(IsLoopback("localhost"));
  EXPECT_TRUE(IsLoopback("[::1]"));
  EXPECT_FALSE(IsLoopback("128.0.0.1"));
  EXPECT_FALSE(IsLoopback("0.0.0.0"));
  EXPECT_FALSE(IsLoopback("127.0.0.1.example.org"));
  EXPECT_FALSE(IsLoopback("127.1"));
  EXPECT_FALSE(IsLoopback(""));
}

}  // namespace
}  // namespace kdn
