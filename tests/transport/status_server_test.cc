// Goal: scrapers and orchestrators get what they ask for, and nobody gets anything else.
// Method: HTTP spoken by hand to a real server.
#include "transport/status/status_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>

#include "tests/transport/raw_peer.h"

namespace kdn::transport::status {
namespace {

class StatusEndpoint : public testing::Test {
 protected:
  StatusEndpoint() {
    auto server = StatusServer::Start("127.0.0.1:0", metrics_, [this] { return ready_.load(); });
    EXPECT_TRUE(server) << (server ? "" : server.error().ToString());
    if (server) server_ = *std::move(server);
  }
  // Everything that comes until the server closes.
  std::string Ask(const std::string& line) {
    test::RawPeer peer(server_->endpoint());
    peer.Send(AsBytes(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    std::string answer;
    char bytes[4096];
    for (ssize_t got = 1; got > 0;) {
      got = recv(peer.fd(), bytes, sizeof(bytes), 0);
      if (got > 0) answer.append(bytes, static_cast<std::size_t>(got));
    }
    return answer;
  }

  MetricRegistry metrics_;
  std::atomic<bool> ready_ = false;
  std::unique_ptr<StatusServer> server_;
};

TEST_F(StatusEndpoint, MetricsAreRendered) {
  metrics_.CounterOf("kdn_test_total", "Things.").Add(7);
  const std::string answer = Ask("GET /metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("text/plain; version=0.0.4"), std::string::npos);
  EXPECT_TRUE(answer.ends_with(metrics_.Render()));
  EXPECT_NE(answer.find("kdn_test_total 7"), std::string::npos);
}

TEST_F(StatusEndpoint, HealthIsThereFromTheStart) {
  EXPECT_TRUE(Ask("GET /healthz").starts_with("HTTP/1.1 200"));
}

TEST_F(StatusEndpoint, ReadyIsAskedEachTime) {
  EXPECT_TRUE(Ask("GET /readyz").starts_with("HTTP/1.1 503"));
  ready_ = true;
  EXPECT_TRUE(Ask("GET /readyz").starts_with("HTTP/1.1 200"));
}

TEST_F(StatusEndpoint, NothingElseIsServed) {
  EXPECT_TRUE(Ask("GET /").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(Ask("GET /etc/passwd").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(Ask("GET /metrics/more").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(Ask("POST /metrics").starts_with("HTTP/1.1 405"));
}

TEST(StatusServer, OffLoopbackMustBeAskedFor) {
  const MetricRegistry metrics;
  const auto refused = StatusServer::Start("0.0.0.0:0", metrics, [] { return true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(StatusServer::Start("0.0.0.0:0", metrics, [] { return true; }, true));
}

TEST(StatusServer, EndpointsAreReadStrictly) {
  const MetricRegistry metrics;
  for (const char* wrong : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "example.org:80"}) {
    const auto server = StatusServer::Start(wrong, metrics, [] { return true; });
    ASSERT_FALSE(server) << wrong;
    EXPECT_EQ(server.error().code(), Code::kInvalidArgument) << wrong;
  }
}

TEST(StatusServer, APortInUseIsReported) {
  const MetricRegistry metrics;
  const auto first = StatusServer::Start("127.0.0.1:0", metrics, [] { return true; });
  ASSERT_TRUE(first);
  const auto second = StatusServer::Start((*first)->endpoint(), metrics, [] { return true; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace kdn::transport::status
