// Whether a node is worth asking: a circuit breaker without I/O.
//
//   closed     asked like any other
//   open       not asked; after a pause, that doubles each time and varies, it may be probed
//   half-open  one probe is under way; its answer closes the breaker, its silence opens it again
//
// A node that fails calls opens it after some of them in a row. A node that says nothing any more
// makes it half-open at once: a probe tells within a moment whether it is slow or gone, and
// nobody's read has to wait for that.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace kdn::client {

enum class BreakerState : std::uint8_t { kClosed, kOpen, kHalfOpen };

struct BreakerOptions {
  std::uint32_t failures_max = 3;              // in a row; opens it
  std::chrono::milliseconds pause_min{250};    // after the first opening
  std::chrono::milliseconds pause_max{4'000};  // however often it opens again
};

class Breaker {
 public:
  explicit Breaker(const BreakerOptions& options) : options_(options) {}

  [[nodiscard]] BreakerState state() const { return state_; }
  // Opened, or opened again, because the node said nothing: whoever asks it may wait in vain.
  [[nodiscard]] bool silent() const { return silent_; }
  // Open, and its pause is over.
  [[nodiscard]] bool MayProbe(TimePoint now) const {
    return state_ == BreakerState::kOpen && now >= reopen_at_;
  }
  void BeginProbe() { state_ = BreakerState::kHalfOpen; }

  // The node has answered a call or a probe, or has sent anything at all.
  void OnHeard();
  // It failed a call, `silent` if by letting its deadline pass. `share`, 0 to 1, places the end of
  // the pause between half of it and all. True if this has opened the breaker.
  bool OnFailure(TimePoint now, double share, bool silent);
  // A probe has failed: `silent` if nothing came, else the node refused it. True: it is open again.
  bool OnProbeFailed(TimePoint now, double share, bool silent);

 private:
  void Open(TimePoint now, double share);

  const BreakerOptions options_;
  BreakerState state_ = BreakerState::kClosed;
  bool silent_ = false;
  std::uint32_t failures_ = 0;
  Duration pause_{};
  TimePoint reopen_at_{};
};

}  // namespace kdn::client
