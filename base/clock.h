// Time comes in from outside, so that a test can move it. Only monotonic time decides anything;
// wall time is for log lines.
//
// Thread-safety: safe.
#pragma once

#include <chrono>

namespace kdn {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint Now() const = 0;
};

// The machine's own steady clock.
class SteadyClock final : public Clock {
 public:
  [[nodiscard]] TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace kdn
