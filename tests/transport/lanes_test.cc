// Goal: a channel of several lanes keeps single calls and those without bulk on its owner's thread,
// others in its home lane unless that has many more than another, remembers a bounded number of
// events for an owner that does not look, and leaves nothing pinned. What every channel promises is
// tested by conformance_test. Method: lanes over channels that the test speaks for; nothing sleeps.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "transport/lanes/laned_channel.h"
#include "transport/lanes/mover.h"
#include "transport/regions.h"
#include "transport/wakeup.h"

namespace kdn::transport::lanes {
namespace {

constexpr std::chrono::seconds kPatience{20};

// What a test sees and says of a FakeChannel; touched by the thread that polls it and by the test.
class Far {
 public:
  void Say(const Event& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    signal_.Raise();
  }
  // Waits until so many calls were submitted; returns the tag of the last.
  std::uint64_t AwaitCalls(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return calls_.size() >= count; }));
    return calls_.empty() ? 0 : calls_.back();
  }
  // Waits until at most so many events are left to be polled.
  void AwaitLeft(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return events_.size() <= count; }));
  }
  [[nodiscard]] std::size_t calls() {
    const std::lock_guard lock(mutex_);
    return calls_.size();
  }
  [[nodiscard]] std::size_t left() {
    const std::lock_guard lock(mutex_);
    return events_.size();
  }

 private:
  friend class FakeChannel;
  std::mutex mutex_;
  std::condition_variable changed_;
  Signal signal_;
  std::vector<std::uint64_t> calls_;
  std::deque<Event> events_;
};

class FakeChannel final : public Channel {
 public:
  explicit FakeChannel(Far& far) : far_(far) {}
  Status Submit(const Call& call) override {
    const std::lock_guard lock(far_.mutex_);
    far_.calls_.push_back(call.tag);
    far_.changed_.notify_all();
    return {};
  }
  void Cancel(std::uint64_t tag) override {
    far_.Say({.tag = tag, .kind = EventKind::kDone, .code = Code::kCancelled});
  }
  std::size_t Poll(std::span<Event> events) override {
    const std::lock_guard lock(far_.mutex_);
    const std::size_t count = std::min(events.size(), far_.events_.size());
    for (std::size_t i = 0; i < count; ++i) {
      events[i] = far_.events_.front();
      far_.events_.pop_front();
    }
    if (far_.events_.empty()) far_.signal_.Clear();
    far_.changed_.notify_all();
    return count;
  }
  [[nodiscard]] int WaitFd() const override { return far_.signal_.fd(); }
  [[nodiscard]] std::uint64_t BytesReceived() const override { return 5; }
  [[nodiscard]] bool Alive() const override { return true; }

 private:
  Far& far_;
};

class Lanes : public testing::Test {
 protected:
  Lanes() {
    EXPECT_TRUE(regions_.Register({memory_.data(), memory_.size()}).ok());
    Make(1);
  }
  void Make(std::size_t home) {
    channel_.reset();
    LanedSetup setup;
    setup.own = std::make_unique<FakeChannel>(own_);
    for (Far& far : moved_) {
      setup.moved.push_back(std::make_unique<FakeChannel>(far));
      setup.movers.push_back(mover_.get());
    }
    setup.queue_depth = 16;
    setup.home = home;
    setup.owner_calls = &owner_calls_;
    setup.regions = &regions_;
    channel_ = *LanedChannel::Make(std::move(setup));
  }
  void Submit(std::uint64_t tag, bool bulk = true) {
    Call call;
    call.tag = tag;
    if (bulk) call.receive_bulk = memory_;
    call.deadline = clock_.Now() + kPatience;
    ASSERT_TRUE(channel_->Submit(call).ok());
  }
  // Waits for the next events.
  std::vector<Event> Await() {
    std::array<Event, 256> events;
    for (;;) {
      const std::size_t count = channel_->Poll(events);
      if (count > 0) return {events.begin(), events.begin() + static_cast<long>(count)};
      pollfd fd{channel_->WaitFd(), POLLIN, 0};
      const int patience_ms = static_cast<int>(std::chrono::milliseconds(kPatience).count());
      if (poll(&fd, 1, patience_ms) != 1) {
        ADD_FAILURE() << "no event came";
        return {};
      }
    }
  }

  SteadyClock clock_;
  std::array<std::byte, 64> memory_{};
  RegionTable regions_;
  std::atomic<std::size_t> owner_calls_{0};
  Far own_;
  std::array<Far, 2> moved_;
  std::unique_ptr<Mover> mover_ = *Mover::Start(clock_, std::chrono::microseconds(0));
  std::unique_ptr<LanedChannel> channel_;
};

TEST_F(Lanes, OneCallAtATimeStaysWithItsOwner) {
  for (std::uint64_t tag = 1; tag <= 3; ++tag) {
    Submit(tag);
    own_.Say({.tag = tag, .kind = EventKind::kDone});
    EXPECT_EQ(Await().front().tag, tag);
  }
  EXPECT_EQ(own_.calls(), 3U);
}

TEST_F(Lanes, CallsWithBulkGoHomeUntilThatHasFourMoreThanAnotherLane) {
  Submit(1);  // the owner would have nothing to move
  for (std::uint64_t tag = 2; tag <= 5; ++tag) Submit(tag);
  moved_[0].AwaitCalls(4);
  Submit(6);
  const std::uint64_t elsewhere = moved_[1].AwaitCalls(1);
  Submit(7);
  moved_[0].AwaitCalls(5);
  EXPECT_EQ(own_.calls(), 1U);
  // It ends: there are none in its lane again, and five at home.
  moved_[1].Say({.tag = elsewhere, .kind = EventKind::kDone});
  EXPECT_EQ(Await().front().tag, 6U);
  Submit(8);
  moved_[1].AwaitCalls(2);
  EXPECT_EQ(moved_[0].calls(), 5U);
}

TEST_F(Lanes, TheOwnersOwnLaneMayBeHome) {
  Make(0);
  for (std::uint64_t tag = 1; tag <= 4; ++tag) Submit(tag);
  EXPECT_EQ(own_.calls(), 4U);
  Submit(5);
  moved_[0].AwaitCalls(1);
}

TEST_F(Lanes, OwnersCallsToOtherPeersCountAsSomethingToMove) {
  owner_calls_ = 1;
  Submit(1);
  moved_[0].AwaitCalls(1);
  EXPECT_EQ(own_.calls(), 0U);
}

TEST_F(Lanes, CallsWithoutBulkStayWithTheirOwner) {
  for (std::uint64_t tag = 1; tag <= 5; ++tag) Submit(tag, false);
  EXPECT_EQ(own_.calls(), 5U);
}

TEST_F(Lanes, CountsWhatAllLanesHaveReceived) {
  Submit(1);
  Submit(2);
  const std::uint64_t inner = moved_[0].AwaitCalls(1);
  moved_[0].Say({.tag = inner, .kind = EventKind::kDone});
  EXPECT_EQ(Await().front().tag, 2U);
  EXPECT_GE(channel_->BytesReceived(), 10U);
}

TEST_F(Lanes, RemembersABoundedNumberOfEventsForAnOwnerThatDoesNotLook) {
  constexpr std::size_t kPieces = 4000;
  Submit(1);
  Submit(2);
  const std::uint64_t inner = moved_[0].AwaitCalls(1);
  for (std::uint32_t i = 0; i < kPieces; ++i) {
    moved_[0].Say({.tag = inner, .kind = EventKind::kPiece, .piece = i});
  }
  moved_[0].Say({.tag = inner, .kind = EventKind::kDone});
  moved_[0].AwaitLeft(kPieces + 1 - 1024);
  // Its mover turns for another lane meanwhile, and goes on as soon as the owner has looked.
  for (std::uint64_t tag = 3; tag <= 6; ++tag) Submit(tag);
  moved_[1].AwaitCalls(1);
  EXPECT_GE(moved_[0].left(), kPieces + 1 - 1024 - 64);
  std::uint32_t next = 0;
  for (bool done = false; !done;) {
    const std::vector<Event> events = Await();
    if (events.empty()) break;
    for (const Event& event : events) {
      EXPECT_EQ(event.tag, 2U);
      done = event.kind == EventKind::kDone;
      if (!done) {
        EXPECT_EQ(event.piece, next++);
      }
    }
  }
  EXPECT_EQ(next, kPieces);
}

TEST_F(Lanes, NothingStaysPinnedWhenItIsDestroyedAmongCalls) {
  for (std::uint64_t tag = 1; tag <= 8; ++tag) Submit(tag);
  moved_[1].AwaitCalls(1);
  channel_.reset();
  EXPECT_EQ(owner_calls_, 0U);
  EXPECT_TRUE(regions_.Unregister(memory_.data()).ok());  // it would wait for calls
}

TEST_F(Lanes, CancelReachesTheLaneOfTheCall) {
  Submit(1);
  Submit(2);
  moved_[0].AwaitCalls(1);
  channel_->Cancel(2);
  const Event event = Await().front();
  EXPECT_EQ(event.tag, 2U);
  EXPECT_EQ(event.code, Code::kCancelled);
}

}  // namespace
}  // namespace kdn::transport::lanes
