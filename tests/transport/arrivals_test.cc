// Goal: what a transport tells a service of bulk while it comes is there when it is told: it may be
// summed at once. Over sockets all of it is told of.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "tests/transport/world.h"

namespace kdn::transport::test {
namespace {

using std::chrono::seconds;

class Arrivals : public testing::TestWithParam<const char*> {
 protected:
  Arrivals() : world_(GetParam(), Options{}) {
    server_ = std::make_unique<ServerThread>(world_.server_domain(), service_, authenticator_);
    auto channel = world_.Connect(server_->endpoint(), ClientIdentity());
    if (channel) client_ = std::make_unique<Client>(*std::move(channel));
  }
  void SetUp() override { ASSERT_NE(client_, nullptr); }
  [[nodiscard]] static bool ThroughSockets() {
    return std::string_view(GetParam()).starts_with("tcp");
  }

  TestAuthenticator authenticator_;
  TestService service_;
  World world_;
  std::unique_ptr<ServerThread> server_;
  std::unique_ptr<Client> client_;
};

TEST_P(Arrivals, ServerIsToldOfAPulledPieceInOrderAndBeforeItsEnd) {
  const MutableBytes source = world_.Memory(3 * limits::kMiB);
  std::ranges::copy(Pattern(source.size(), 4), source.begin());
  std::vector<std::byte> got(source.size());
  const MutableBytes into = got;
  const MutableBytes spans[] = {into.first(1'000'000), into.subspan(1'000'000)};
  std::vector<std::size_t> told;
  bool right = true;
  service_.on_arrived = [&](Exchange&, std::uint32_t piece, std::size_t size_bytes) {
    right = right && piece == 5 && size_bytes > (told.empty() ? 0 : told.back()) &&
            size_bytes <= into.size() && Same(into.first(size_bytes), source.first(size_bytes));
    told.push_back(size_bytes);
  };
  service_.on_call = [&](Exchange& call) { call.ReceivePiece(5, 0, spans); };
  std::size_t told_by_the_end = 0;
  service_.on_moved = [&](Exchange& call, std::uint32_t, Code) {
    told_by_the_end = told.size();
    call.Finish(Code::kOk, {});
    service_.Drop(call);
  };
  const ConstBytes send = source;
  Call call;
  call.tag = 1;
  call.send_bulk = {&send, 1};
  call.deadline = world_.In(seconds(10));
  ASSERT_TRUE(client_->channel().Submit(call).ok());
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kOk);
  server_->Stop();
  EXPECT_TRUE(right);
  EXPECT_EQ(told.size(), told_by_the_end);
  if (!ThroughSockets()) return;
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), source.size());
}

INSTANTIATE_TEST_SUITE_P(Transports, Arrivals,
                         testing::Values("tcp", "loopback", "tcp_lanes", "tcp_movers", "shm"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace kdn::transport::test
