// Goal: a sick node is given up once and for all operations, is asked again by one probe at a time,
// and the second requests of a client stay a share of its first ones.
// Method: a clock that stands still until moved; probes that the test answers.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "client/core/breaker.h"
#include "client/core/node_health.h"
#include "client/core/piece_times.h"
#include "client/core/retry_budget.h"
#include "tests/support/manual_clock.h"

namespace kdn::client {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using wire::Priority;

constexpr NodeId kNode{7};

TEST(Breaker, OpensAfterFailuresInARowOnly) {
  Breaker breaker({.failures_max = 3});
  const TimePoint now{};
  EXPECT_FALSE(breaker.OnFailure(now, 1, false));
  EXPECT_FALSE(breaker.OnFailure(now, 1, false));
  breaker.OnHeard();
  EXPECT_FALSE(breaker.OnFailure(now, 1, false));
  EXPECT_FALSE(breaker.OnFailure(now, 1, false));
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  EXPECT_TRUE(breaker.OnFailure(now, 1, false));
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
  EXPECT_FALSE(breaker.silent());
}

TEST(Breaker, PausesLongerEachTimeAndNeverBeyondItsBound) {
  Breaker breaker(
      {.failures_max = 1, .pause_min = milliseconds(100), .pause_max = milliseconds(350)});
  TimePoint now{};
  breaker.OnFailure(now, 1, false);
  for (const int pause_ms : {100, 200, 350, 350}) {
    EXPECT_FALSE(breaker.MayProbe(now + milliseconds(pause_ms - 1))) << pause_ms;
    now += milliseconds(pause_ms);
    ASSERT_TRUE(breaker.MayProbe(now)) << pause_ms;
    breaker.BeginProbe();
    EXPECT_FALSE(breaker.MayProbe(now + std::chrono::hours(1)))
        << "a second probe beside the first";
    EXPECT_TRUE(breaker.OnProbeFailed(now, 1, true));
  }
  EXPECT_TRUE(breaker.silent());
  now += milliseconds(350);
  breaker.BeginProbe();
  breaker.OnHeard();
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  breaker.OnFailure(now, 1, false);
  EXPECT_TRUE(breaker.MayProbe(now + milliseconds(100))) << "an answer did not end the doubling";
}

TEST(Breaker, ComesBackEarlierForSomeThanForOthers) {
  Breaker early({.failures_max = 1, .pause_min = milliseconds(100)});
  Breaker late = early;
  early.OnFailure({}, 0, false);
  late.OnFailure({}, 1, false);
  EXPECT_TRUE(early.MayProbe(TimePoint(milliseconds(50))));
  EXPECT_FALSE(late.MayProbe(TimePoint(milliseconds(99))));
}

TEST(PieceTimes, SayNothingBeforeThereAreEnough) {
  PieceTimes times(99);
  for (std::uint32_t i = 1; i < PieceTimes::kSamplesMin; ++i) times.Add(milliseconds(1));
  EXPECT_FALSE(times.Quantile());
  times.Add(milliseconds(1));
  ASSERT_TRUE(times.Quantile());
  EXPECT_GE(*times.Quantile(), milliseconds(1));
  EXPECT_LE(*times.Quantile(), microseconds(1190));
}

TEST(PieceTimes, FollowTheTailAndForgetIt) {
  PieceTimes times(90);
  for (int i = 0; i < 900; ++i) times.Add(i % 10 < 8 ? milliseconds(1) : milliseconds(50));
  EXPECT_GE(*times.Quantile(), milliseconds(50));
  EXPECT_LE(*times.Quantile(), milliseconds(60));
  for (int i = 0; i < 6000; ++i) times.Add(milliseconds(2));
  EXPECT_LE(*times.Quantile(), microseconds(2400));
}

TEST(PieceTimes, TakeAnyDuration) {
  PieceTimes times(99);
  for (int i = 0; i < 2000; ++i) times.Add(i % 2 == 0 ? Duration(-5) : std::chrono::hours(100));
  EXPECT_GE(*times.Quantile(), std::chrono::seconds(60));
}

TEST(RetryBudget, IsAShareOfTheRequestsBeyondWhatWasSaved) {
  RetryBudget budget(10);
  int saved = 0;
  while (budget.Take()) ++saved;
  EXPECT_EQ(saved, static_cast<int>(RetryBudget::kSavedMax));
  int retries = 0;
  for (int request = 0; request < 10'000; ++request) {
    budget.OnRequest();
    while (budget.Take()) ++retries;
  }
  EXPECT_GE(retries, 990);
  EXPECT_LE(retries, 1000);
}

TEST(RetryBudget, ComesBackWithTimeWhereThereAreFewRequests) {
  RetryBudget budget(10);
  while (budget.Take()) {
  }
  budget.OnTime(milliseconds(500));
  EXPECT_FALSE(budget.Take());
  budget.OnTime(milliseconds(1600));
  EXPECT_TRUE(budget.Take());
  EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take());
}

TEST(RetryBudget, OfNothingAllowsNothing) {
  RetryBudget budget(0);
  for (int request = 0; request < 1000; ++request) budget.OnRequest();
  budget.OnTime(std::chrono::hours(1));
  EXPECT_FALSE(budget.Take());
}

class NodeHealthTest : public testing::Test {
 protected:
  struct Probed {
    CallTarget target;
    Duration patience;
    std::function<void(Code)> answer;
  };
  Standing StandingNow(Priority priority = Priority::kLoad) {
    return health_.StandingOf(target_, priority);
  }
  void Answer(Code code) {
    ASSERT_FALSE(probes_.empty());
    const auto answer = std::exchange(probes_, {}).front().answer;
    answer(code);
  }

  test::ManualClock clock_;
  SeededRandom random_{3};
  MetricRegistry metrics_;
  std::vector<Probed> probes_;
  const CallTarget target_{kNode, "here"};
  NodeHealth health_{
      {},
      clock_,
      random_,
      metrics_,
      [this](const CallTarget& target, Duration patience, std::function<void(Code)> answer) {
        probes_.push_back({target, patience, std::move(answer)});
      }};
};

TEST_F(NodeHealthTest, SilenceIsProbedOnceAndCostsNobodyElseAWait) {
  EXPECT_EQ(StandingNow(), Standing::kGood);
  health_.OnSilent(target_);
  health_.OnSilent(target_);
  ASSERT_EQ(probes_.size(), 1U);
  EXPECT_EQ(probes_[0].target.endpoint, "here");
  EXPECT_LE(probes_[0].patience, milliseconds(100));
  EXPECT_EQ(StandingNow(), Standing::kSuspect);
  Answer(Code::kDeadlineExceeded);
  EXPECT_EQ(StandingNow(), Standing::kSilent);
  EXPECT_TRUE(probes_.empty()) << "probed again before its pause is over";
}

TEST_F(NodeHealthTest, ASlowNodeIsGoodAgainAsSoonAsItsProbeIsAnswered) {
  health_.OnSilent(target_);
  Answer(Code::kOk);
  EXPECT_EQ(StandingNow(), Standing::kGood);
}

TEST_F(NodeHealthTest, ASilentNodeIsProbedAfterItsPauseByBeingAskedFor) {
  health_.OnSilent(target_);
  Answer(Code::kDeadlineExceeded);
  clock_.Advance(milliseconds(250));
  EXPECT_EQ(StandingNow(), Standing::kSilent) << "a request was to wait for the probe";
  ASSERT_EQ(probes_.size(), 1U);
  EXPECT_EQ(StandingNow(), Standing::kSilent);
  EXPECT_EQ(probes_.size(), 1U);
  Answer(Code::kOk);
  EXPECT_EQ(StandingNow(), Standing::kGood);
}

TEST_F(NodeHealthTest, WhateverComesFromANodeClosesItsBreaker) {
  health_.OnSilent(target_);
  Answer(Code::kDeadlineExceeded);
  health_.OnPiece(kNode, milliseconds(900));
  EXPECT_EQ(StandingNow(), Standing::kGood);
}

TEST_F(NodeHealthTest, ANodeThatFailsCallsAtOnceIsTheLastToBeAskedAndNotGivenUp) {
  for (int i = 0; i < 3; ++i) health_.OnEnd(kNode, Code::kUnavailable, {});
  EXPECT_EQ(StandingNow(), Standing::kRefusing);
  health_.OnEnd(kNode, Code::kNotFound, {});
  EXPECT_EQ(StandingNow(), Standing::kGood) << "a miss is an answer";
}

TEST_F(NodeHealthTest, ANodeThatLetsDeadlinesPassIsSilent) {
  for (int i = 0; i < 3; ++i) health_.OnEnd(kNode, Code::kDeadlineExceeded, {});
  EXPECT_EQ(StandingNow(), Standing::kSilent);
}

TEST_F(NodeHealthTest, PressureIsObeyedByThatPriorityAndBelowAndIsNoFault) {
  wire::Buffer overload;
  wire::Overload{wire::ShedReason::kMemory, Priority::kPrefetch, milliseconds(40)}.Encode(overload);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(health_.OnEnd(kNode, Code::kResourceExhausted, overload));
  }
  EXPECT_EQ(StandingNow(Priority::kPut), Standing::kPressed);
  EXPECT_EQ(StandingNow(Priority::kPrefetch), Standing::kPressed);
  EXPECT_EQ(StandingNow(Priority::kLoad), Standing::kGood);
  EXPECT_EQ(health_.PressedUntil(kNode, Priority::kPut), clock_.Now() + milliseconds(40));
  clock_.Advance(milliseconds(40));
  EXPECT_EQ(StandingNow(Priority::kPut), Standing::kGood);
  EXPECT_FALSE(health_.OnEnd(kNode, Code::kResourceExhausted, {})) << "it said no time";
}

TEST_F(NodeHealthTest, LatenessIsTheNodesOwnQuantileBetweenFloorAndCeiling) {
  EXPECT_EQ(health_.SilenceAllowed(kNode), milliseconds(100)) << "nothing is known yet";
  EXPECT_EQ(health_.PieceAllowed(kNode), Duration::max());
  for (int i = 0; i < 100; ++i) health_.OnPiece(kNode, milliseconds(1));
  EXPECT_EQ(health_.SilenceAllowed(kNode), milliseconds(20));
  EXPECT_EQ(health_.PieceAllowed(kNode), milliseconds(20));
  for (int i = 0; i < 3000; ++i) health_.OnPiece(kNode, milliseconds(700));
  EXPECT_EQ(health_.SilenceAllowed(kNode), milliseconds(100));
  EXPECT_GE(health_.PieceAllowed(kNode), milliseconds(700)) << "a slow link is not a late node";
  EXPECT_EQ(health_.SilenceAllowed(NodeId{8}), milliseconds(100)) << "another node's times";
}

TEST_F(NodeHealthTest, BreakersAreCountedByState) {
  (void)StandingNow();
  health_.OnSilent(target_);
  EXPECT_NE(metrics_.Render().find(R"(kdn_client_breakers{state="half_open"} 1)"),
            std::string::npos);
  Answer(Code::kDeadlineExceeded);
  const std::string text = metrics_.Render();
  EXPECT_NE(text.find(R"(kdn_client_breakers{state="open"} 1)"), std::string::npos) << text;
  EXPECT_NE(text.find("kdn_client_breaker_opened_total 1"), std::string::npos) << text;
}

}  // namespace
}  // namespace kdn::client
