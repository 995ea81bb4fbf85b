// Time that stands still until a test moves it.
//
// Thread-safety: safe.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace kdn::test {

class ManualClock final : public Clock {
 public:
  // Begins at one hour, so that a test may also look back.
  ManualClock() = default;
  explicit ManualClock(TimePoint now) : now_(now.time_since_epoch().count()) {}

  [[nodiscard]] TimePoint Now() const override { return TimePoint(Duration(now_.load())); }
  void Advance(Duration by) { now_.fetch_add(by.count()); }

 private:
  std::atomic<Duration::rep> now_{Duration(std::chrono::hours(1)).count()};
};

}  // namespace kdn::test
