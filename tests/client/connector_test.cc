// Goal: endpoints that do not answer do not keep those that do waiting.
// Method: a domain whose Connect() blocks for the endpoints that the test says.
#include "client/remote/connector.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "tests/support/manual_clock.h"

namespace kdn::client {
namespace {

class DeadEndpoints final : public transport::Domain {
 public:
  Status Register(const transport::MemoryRegion& /*region*/) override { return {}; }
  Status Unregister(const std::byte* /*address*/) override { return {}; }
  // Those that begin with "dead" wait for LetGo(). There is no other end: all are unavailable.
  Result<std::unique_ptr<transport::Channel>> Connect(std::string_view endpoint,
                                                      const transport::Identity& /*identity*/,
                                                      TimePoint /*deadline*/) override {
    std::unique_lock lock(mutex_);
    if (endpoint.starts_with("dead")) {
      blocked_max_ = std::max(blocked_max_, ++blocked_);
      changed_.notify_all();
      changed_.wait(lock, [this] { return let_go_; });
      --blocked_;
    }
    return Error(Code::kUnavailable);
  }
  Result<std::unique_ptr<transport::Server>> Listen(
      std::string_view /*endpoint*/, const ClusterId& /*cluster*/, const PeerId& /*self*/,
      transport::Service& /*service*/, const transport::Authenticator& /*a*/) override {
    return Error(Code::kUnimplemented);
  }

  // False if not so many block after far more time than it takes.
  bool WaitBlocked(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return blocked_ == count; });
  }
  int blocked_max() {
    const std::scoped_lock lock(mutex_);
    return blocked_max_;
  }
  void LetGo() {
    const std::scoped_lock lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int blocked_ = 0;      // guarded by mutex_
  int blocked_max_ = 0;  // guarded by mutex_
  bool let_go_ = false;  // guarded by mutex_
};

class ConnectorTest : public testing::Test {
 protected:
  ~ConnectorTest() override {
    domain_.LetGo();
    connector_.reset();
    close(wake_fd_);
  }

  // The next outcome's endpoint; empty if none comes in far more time than it takes.
  std::string NextOutcome() {
    while (outcomes_.empty()) {
      pollfd readable{wake_fd_, POLLIN, 0};
      if (poll(&readable, 1, 20'000) <= 0) return {};
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t drained = read(wake_fd_, &count, sizeof(count));
      for (Connector::Outcome& outcome : connector_->TakeOutcomes()) {
        outcomes_.push_back(std::move(outcome.endpoint));
      }
    }
    std::string first = std::move(outcomes_.front());
    outcomes_.pop_front();
    return first;
  }

  DeadEndpoints domain_;
  test::ManualClock clock_;
  int wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::deque<std::string> outcomes_;
  std::unique_ptr<Connector> connector_ =
      std::make_unique<Connector>(domain_, transport::Identity{}, clock_, wake_fd_);
};

TEST_F(ConnectorTest, SevenDeadEndpointsDoNotHoldUpOneThatAnswers) {
  for (int i = 0; i < 7; ++i) connector_->Connect("dead" + std::to_string(i));
  ASSERT_TRUE(domain_.WaitBlocked(7));
  for (int i = 0; i < 3; ++i) {
    connector_->Connect("alive");
    EXPECT_EQ(NextOutcome(), "alive");
  }
}

TEST_F(ConnectorTest, NoMoreThanEightConnectsAreUnderWay) {
  for (int i = 0; i < 20; ++i) connector_->Connect("dead" + std::to_string(i));
  ASSERT_TRUE(domain_.WaitBlocked(8));
  domain_.LetGo();
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(NextOutcome().empty());
  EXPECT_EQ(domain_.blocked_max(), 8);
}

}  // namespace
}  // namespace kdn::client
