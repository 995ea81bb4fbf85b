#include "coordinator/service/node_links.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "base/log.h"
#include "tests/support/manual_clock.h"
#include "tests/support/stuck_domain.h"

namespace kdn::coordinator {
namespace {

using test::StuckDomain;

TEST(NodeLinks, ANodeThatDoesNotAnswerHoldsUpNoOther) {
  StuckDomain domain;
  test::ManualClock clock;
  NullLog log;
  Mailbox mailbox(16);
  Code stuck = Code::kOk;
  Code other = Code::kOk;
  NodeLinks links(domain, {}, clock, log, mailbox);
  const test::LetGo let_go{domain};
  const auto call = [&](const std::string& endpoint, Code& told) {
    links.Call(endpoint, {}, TimePoint::max(), [&told](Code code, ConstBytes) { told = code; });
  };
  call(StuckDomain::kStuck, stuck);
  domain.connecting.wait();
  call("elsewhere:1", other);
  std::vector<Mailbox::Task> tasks;
  while (other == Code::kOk) {
    pollfd mail{mailbox.WaitFd(), POLLIN, 0};
    ASSERT_EQ(::poll(&mail, 1, 10'000), 1) << "the other waits behind the one that is stuck";
    tasks.clear();
    mailbox.TakeAll(tasks);
    for (Mailbox::Task& task : tasks) task();
  }
  EXPECT_EQ(other, Code::kUnavailable);
  EXPECT_EQ(stuck, Code::kOk);
}

}  // namespace
}  // namespace kdn::coordinator
