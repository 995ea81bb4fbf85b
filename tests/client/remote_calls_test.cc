// Goal: a call to the cluster ends once, and what it was to move is not touched after its end,
// whenever its channel is lost or it is given up.
// Method: RemoteCalls over channels that do what the test says, and no sockets.
#include "client/remote/remote_calls.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/manual_clock.h"

namespace kdn::client {
namespace {

constexpr char kCoordinator[] = "coordinator";
constexpr char kNode[] = "node";

// The far end of a channel, as the test sees it. Touched by the polling thread only.
struct Far {
  std::vector<std::uint64_t> submitted;  // tags
  std::vector<transport::Event> events;  // of the next Poll()
  bool gone = false;                     // takes no more calls
  std::uint64_t bytes_received = 0;
  bool destroyed = false;
};

class FakeChannel final : public transport::Channel {
 public:
  explicit FakeChannel(std::shared_ptr<Far> far) : far_(std::move(far)) {}
  ~FakeChannel() override { far_->destroyed = true; }
  Status Submit(const transport::Call& call) override {
    if (far_->gone) return Status(Code::kUnavailable);
    far_->submitted.push_back(call.tag);
    return {};
  }
  void Cancel(std::uint64_t tag) override { far_->events.push_back({tag}); }
  std::size_t Poll(std::span<transport::Event> events) override {
    const std::size_t count = std::min(events.size(), far_->events.size());
    std::copy_n(far_->events.begin(), count, events.begin());
    far_->events.erase(far_->events.begin(), far_->events.begin() + static_cast<long>(count));
    return count;
  }
  int WaitFd() const override { return -1; }
  std::uint64_t BytesReceived() const override { return far_->bytes_received; }
  bool Alive() const override { return !far_->gone; }

 private:
  const std::shared_ptr<Far> far_;  // shared with the test, which looks at it after the channel
};

// Connects to everybody at once.
class FakeDomain final : public transport::Domain {
 public:
  Status Register(const transport::MemoryRegion& /*region*/) override { return {}; }
  Status Unregister(const std::byte* /*address*/) override { return {}; }
  Result<std::unique_ptr<transport::Channel>> Connect(std::string_view endpoint,
                                                      const transport::Identity& /*identity*/,
                                                      TimePoint /*deadline*/) override {
    const std::scoped_lock lock(mutex_);
    auto far = std::make_shared<Far>();
    channels_[std::string(endpoint)].push_back(far);
    return std::make_unique<FakeChannel>(std::move(far));
  }
  Result<std::unique_ptr<transport::Server>> Listen(
      std::string_view /*endpoint*/, const ClusterId& /*cluster*/, const PeerId& /*self*/,
      transport::Service& /*service*/, const transport::Authenticator& /*a*/) override {
    return Error(Code::kUnimplemented);
  }

  // Those opened so far, oldest first.
  std::vector<std::shared_ptr<Far>> ChannelsTo(const std::string& endpoint) {
    const std::scoped_lock lock(mutex_);
    return channels_[endpoint];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<std::shared_ptr<Far>>> channels_;  // guarded by mutex_
};

class RemoteCallsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto domain = std::make_unique<FakeDomain>();
    domain_ = domain.get();
    auto calls = RemoteCalls::Make(std::move(domain), {}, kCoordinator, clock_, log_);
    ASSERT_TRUE(calls.has_value());
    calls_ = *std::move(calls);
  }

  CallId Start(std::function<void(Code)> done) {
    CallRequest request;
    request.target = {NodeId{1}, kNode};
    request.deadline = clock_.Now() + std::chrono::seconds(5);
    request.insist = true;
    request.done = [done = std::move(done)](Code code, ConstBytes /*response*/) { done(code); };
    return calls_->Start(std::move(request));
  }

  // Polls until it holds. False if it does not within far more time than it needs.
  bool PollUntil(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      if (calls_->Poll()) continue;
      pollfd readable{calls_->WaitFd(), POLLIN, 0};
      poll(&readable, 1, 100);
    }
    return true;
  }

  // The newest channel to the node, once `count` have been opened and the newest has been used.
  std::shared_ptr<Far> UsedChannel(std::size_t count) {
    std::shared_ptr<Far> far;
    PollUntil([&] {
      const auto channels = domain_->ChannelsTo(kNode);
      if (channels.size() < count) return false;
      far = channels.back();
      return !far->submitted.empty();
    });
    return far;
  }

  test::ManualClock clock_;
  NullLog log_;
  std::vector<Code> ends_;
  std::unique_ptr<RemoteCalls> calls_;
  FakeDomain* domain_ = nullptr;  // calls_ owns it
};

TEST_F(RemoteCallsTest, ACallStartedWhileItsChannelIsLostGoesOutOnTheNext) {
  Start([this](Code code) {
    ends_.push_back(code);
    Start([this](Code second) { ends_.push_back(second); });
  });
  const auto lost = UsedChannel(1);
  ASSERT_NE(lost, nullptr);
  lost->gone = true;
  lost->events.push_back({lost->submitted[0], transport::EventKind::kDone, Code::kUnavailable});
  const auto next = UsedChannel(2);
  ASSERT_NE(next, nullptr);
  ASSERT_EQ(next->submitted.size(), 1U);
  next->events.push_back({next->submitted[0], transport::EventKind::kDone, Code::kOk});
  ASSERT_TRUE(PollUntil([&] { return ends_.size() == 2; }));
  EXPECT_EQ(ends_, (std::vector<Code>{Code::kUnavailable, Code::kOk}));
}

TEST_F(RemoteCallsTest, ALostChannelIsGoneBeforeTheEndOfItsCallsIsTold) {
  auto lost = std::make_shared<Far>();
  Start([this](Code) { Start([](Code) {}); });
  Start([this, &lost](Code code) {
    ends_.push_back(code);
    EXPECT_TRUE(lost->destroyed);
  });
  lost = UsedChannel(1);
  ASSERT_NE(lost, nullptr);
  ASSERT_EQ(lost->submitted.size(), 2U);
  lost->gone = true;
  lost->events.push_back({lost->submitted[0], transport::EventKind::kDone, Code::kUnavailable});
  ASSERT_TRUE(PollUntil([&] { return ends_.size() == 1; }));
  EXPECT_EQ(ends_[0], Code::kUnavailable);
  calls_.reset();
}

TEST_F(RemoteCallsTest, ACallCancelledBeforeItsConnectionIsThereIsNeverSent) {
  calls_->Cancel(Start([this](Code code) { ends_.push_back(code); }));
  ASSERT_TRUE(PollUntil([&] { return !domain_->ChannelsTo(kNode).empty() && !ends_.empty(); }));
  EXPECT_EQ(ends_[0], Code::kCancelled);
  const CallId next = Start([](Code) {});
  const auto channel = UsedChannel(1);
  ASSERT_NE(channel, nullptr);
  EXPECT_EQ(channel->submitted, (std::vector{static_cast<std::uint64_t>(next)}));
}

}  // namespace
}  // namespace kdn::client
