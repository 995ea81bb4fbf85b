// Goal: latencies of an open loop count from when operations were to begin, so that a target which
// stalls shows in all that would have come meanwhile; and every arrival is accounted for.
// Method: a target in virtual time that takes 1 ms an operation and stalls once; nothing is real
// but the loop.
#include "client/bench/loop.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/manual_clock.h"

namespace kdn::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class VirtualTimer final : public Timer {
 public:
  TimePoint Now() override { return clock_.Now(); }
  void WaitUntil(TimePoint time) override {
    if (time > clock_.Now()) clock_.Advance(time - clock_.Now());
  }
  void Advance(Duration by) { clock_.Advance(by); }

 private:
  test::ManualClock clock_;
};

class StallingWorker final : public Worker {
 public:
  StallingWorker(VirtualTimer& timer, TimePoint stall_at, Duration stall)
      : timer_(timer), stall_at_(stall_at), stall_(stall) {}
  Operation Draw() override { return {.kind = Kind::kRead}; }
  Answer Run(const Operation&) override {
    timer_.Advance(milliseconds(1));
    if (!stalled_ && timer_.Now() >= stall_at_) {
      stalled_ = true;
      timer_.Advance(stall_);
    }
    ++runs_;
    return {.finished = timer_.Now(), .bytes = 10};
  }
  [[nodiscard]] std::uint64_t runs() const { return runs_; }

 private:
  VirtualTimer& timer_;
  TimePoint stall_at_;
  Duration stall_;
  bool stalled_ = false;
  std::uint64_t runs_ = 0;
};

class LoopTest : public testing::Test {
 protected:
  LoopTest() { plan_.begin = timer_.Now(); }

  // One client; the target stalls in the middle of what is counted.
  Tally Run(Duration stall) {
    StallingWorker worker(timer_, plan_.count_begin() + plan_.measured / 2, stall);
    Arrivals arrivals(plan_);
    Tallies tallies;
    RunClient(plan_, plan_.rate > 0.0 ? &arrivals : nullptr, timer_, worker, stop_, tallies);
    runs_ = worker.runs();
    return tallies[static_cast<std::size_t>(Kind::kRead)];
  }

  VirtualTimer timer_;
  LoopPlan plan_;
  std::atomic<bool> stop_{false};
  std::uint64_t runs_ = 0;
};

TEST_F(LoopTest, AStallShowsInAllThatWouldHaveComeMeanwhile) {
  plan_.warmup = seconds(1);
  plan_.measured = seconds(4);
  plan_.drain = seconds(10);
  plan_.rate = 100.0;
  plan_.poisson = false;
  const Tally tally = Run(seconds(1));
  EXPECT_EQ(tally.latency.count(), 400U);
  // 100 operations were to begin in that second: they waited 1 s, 0.99 s, 0.98 s ... and a little
  // more, as those before them were served first. A quarter of all is late.
  EXPECT_GT(tally.latency.Quantile(0.99), milliseconds(950));
  EXPECT_GT(tally.latency.Quantile(0.90), milliseconds(550));
  EXPECT_LT(tally.latency.Quantile(0.70), milliseconds(2));
  EXPECT_GE(tally.latency.max(), milliseconds(1000));
  EXPECT_LT(tally.latency.max(), milliseconds(1012));
  EXPECT_EQ(tally.outcomes[0], 400U);
}

TEST_F(LoopTest, AClosedLoopSeesTheSameStallOnce) {
  plan_.measured = seconds(4);
  const Tally tally = Run(seconds(1));
  EXPECT_EQ(tally.latency.max(), milliseconds(1001));
  EXPECT_LT(tally.latency.Quantile(0.999), milliseconds(2));
  // Three seconds of 1 ms each, and the stall.
  EXPECT_NEAR(static_cast<double>(tally.latency.count()), 3000.0, 2.0);
}

TEST_F(LoopTest, ArrivalsThatFoundNoClientFreeAreCountedWithTheTimeTheyWaited) {
  plan_.measured = seconds(2);
  plan_.drain = milliseconds(100);
  plan_.rate = 100.0;
  plan_.poisson = false;
  const Tally tally = Run(seconds(30));
  // Half of them had been served before the target stalled for good.
  const auto late = tally.outcomes[static_cast<std::size_t>(Outcome::kNotStarted)];
  EXPECT_EQ(tally.latency.count(), 200U);
  EXPECT_EQ(late + tally.outcomes[0], 200U);
  EXPECT_NEAR(static_cast<double>(late), 99.0, 2.0);
  EXPECT_EQ(runs_, tally.outcomes[0]);
  EXPECT_GT(tally.latency.Quantile(0.6), seconds(29));
}

TEST_F(LoopTest, TheWarmUpIsIssuedAndNotCounted) {
  plan_.warmup = seconds(1);
  plan_.measured = seconds(1);
  plan_.rate = 100.0;
  plan_.poisson = false;
  const Tally tally = Run(Duration(0));
  EXPECT_EQ(runs_, 200U);
  EXPECT_EQ(tally.latency.count(), 100U);
  EXPECT_EQ(tally.ended, 100U);
  EXPECT_EQ(tally.bytes, 1000U);
}

TEST_F(LoopTest, WhatTheGeneratorDidItselfIsNoLatency) {
  class BusyWorker final : public Worker {
   public:
    explicit BusyWorker(VirtualTimer& timer) : timer_(timer) {}
    Operation Draw() override { return {.kind = Kind::kUpdate}; }
    Answer Run(const Operation&) override {
      timer_.Advance(milliseconds(8));
      return {.finished = timer_.Now(), .own = milliseconds(5)};
    }
    VirtualTimer& timer_;
  };
  plan_.measured = seconds(1);
  BusyWorker worker(timer_);
  Tallies tallies;
  RunClient(plan_, nullptr, timer_, worker, stop_, tallies);
  EXPECT_EQ(tallies[static_cast<std::size_t>(Kind::kUpdate)].latency.max(), milliseconds(3));
}

TEST_F(LoopTest, PoissonArrivalsComeAtTheRateAndAtRandom) {
  plan_.measured = seconds(100);
  plan_.rate = 1000.0;
  plan_.seed = 3;
  Arrivals arrivals(plan_);
  std::vector<double> gaps;
  std::optional<TimePoint> last = arrivals.Next();
  while (const std::optional<TimePoint> next = arrivals.Next()) {
    gaps.push_back(std::chrono::duration<double>(*next - *last).count());
    last = next;
  }
  const auto count = static_cast<double>(gaps.size());
  EXPECT_NEAR(count, 100'000.0, 1500.0);
  const double mean = std::accumulate(gaps.begin(), gaps.end(), 0.0) / count;
  double variance = 0.0;
  for (const double gap : gaps) variance += (gap - mean) * (gap - mean) / count;
  // Of an exponential distribution both are equal.
  EXPECT_NEAR(variance / (mean * mean), 1.0, 0.05);
}

TEST_F(LoopTest, ItEndsOnceItIsStopped) {
  plan_.measured = std::chrono::hours(1000);
  stop_ = true;
  EXPECT_EQ(Run(Duration(0)).latency.count(), 0U);
}

}  // namespace
}  // namespace kdn::bench
