#include "client/bench/loop.h"

#include <cmath>
#include <condition_variable>

namespace kdn::bench {
namespace {

void Count(const LoopPlan& plan, TimePoint intended, TimePoint begun, const Answer& answer,
           Tally& tally) {
  if (answer.outcome == Outcome::kDone && answer.finished >= plan.count_begin() &&
      answer.finished < plan.end()) {
    ++tally.ended;
    tally.bytes += answer.bytes;
  }
  // Wrong bytes count whenever they come.
  if (intended < plan.count_begin() && answer.outcome != Outcome::kWrong) return;
  ++tally.outcomes[static_cast<std::size_t>(answer.outcome)];
  tally.latency.Record(answer.finished - answer.own - intended);
  tally.start_delay.Record(begun - intended);
  if (answer.lookup.count() > 0) tally.lookup.Record(answer.lookup);
  if (answer.load.count() > 0) tally.load.Record(answer.load);
  if (answer.store.count() > 0) tally.store.Record(answer.store);
}

}  // namespace

void SteadyTimer::WaitUntil(TimePoint time) {
  // Nobody notifies: it is a timer that may be waited for with the clock that all else uses.
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (Now() < time) never.wait_until(lock, time);
}

Arrivals::Arrivals(const LoopPlan& plan) : plan_(plan), lots_(Mix(plan.seed + 2)) {}

std::optional<TimePoint> Arrivals::Next() {
  const std::scoped_lock lock(mutex_);
  const std::chrono::duration<double> after(at_ / plan_.rate);
  const TimePoint next = plan_.begin + std::chrono::duration_cast<Duration>(after);
  if (next >= plan_.end()) return std::nullopt;
  at_ += plan_.poisson ? -std::log(1.0 - lots_.Share()) : 1.0;
  return next;
}

void Tally::Merge(const Tally& other) {
  latency.Merge(other.latency);
  start_delay.Merge(other.start_delay);
  lookup.Merge(other.lookup);
  load.Merge(other.load);
  store.Merge(other.store);
  for (std::size_t i = 0; i < kOutcomes; ++i) outcomes[i] += other.outcomes[i];
  ended += other.ended;
  bytes += other.bytes;
}

void RunClient(const LoopPlan& plan, Arrivals* arrivals, Timer& timer, Worker& worker,
               const std::atomic<bool>& stop, Tallies& tallies) {
  timer.WaitUntil(plan.begin);
  while (!stop.load(std::memory_order_relaxed)) {
    TimePoint intended = timer.Now();
    if (arrivals != nullptr) {
      const std::optional<TimePoint> next = arrivals->Next();
      if (!next) return;
      intended = *next;
      timer.WaitUntil(intended);
    } else if (intended >= plan.end()) {
      return;
    }
    const TimePoint begun = arrivals != nullptr ? timer.Now() : intended;
    const Operation operation = worker.Draw();
    Tally& tally = tallies[static_cast<std::size_t>(operation.kind)];
    if (begun > plan.end() + plan.drain) {
      // It took at least this long.
      Count(plan, intended, begun, {.outcome = Outcome::kNotStarted, .finished = begun}, tally);
    } else {
      Count(plan, intended, begun, worker.Run(operation), tally);
    }
  }
}

}  // namespace kdn::bench
