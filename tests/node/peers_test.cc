#include "node/peers.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "tests/support/manual_clock.h"
#include "tests/support/stuck_domain.h"

namespace kdn::test {
namespace {

TEST(Peers, OneThatDoesNotAnswerHoldsUpNoOther) {
  StuckDomain domain;
  ManualClock clock;
  node::Mailbox mailbox;
  node::Peers peers(domain, {}, clock, mailbox);
  const LetGo let_go{domain};
  const auto start = [&](const std::string& endpoint, Code& told) {
    node::Peers::Call call;
    call.deadline = TimePoint::max();
    call.done = [&told](Code code, ConstBytes) { told = code; };
    peers.Start(endpoint, std::move(call));
  };
  Code stuck = Code::kOk;
  Code other = Code::kOk;
  start(StuckDomain::kStuck, stuck);
  domain.connecting.wait();
  start("elsewhere:1", other);
  while (other == Code::kOk) {
    pollfd mail{mailbox.WaitFd(), POLLIN, 0};
    ASSERT_EQ(poll(&mail, 1, 10'000), 1) << "the other waits behind the one that is stuck";
    for (node::ShardMessage& message : mailbox.Take()) {
      peers.OnConnected(std::get<node::PeerConnected>(std::move(message)));
    }
    (void)peers.Poll();
  }
  EXPECT_EQ(other, Code::kUnavailable);
  EXPECT_EQ(stuck, Code::kOk);
}

}  // namespace
}  // namespace kdn::test
