#include "client/core/breaker.h"

#include <algorithm>

namespace kdn::client {

void Breaker::OnHeard() {
  state_ = BreakerState::kClosed;
  silent_ = false;
  failures_ = 0;
  pause_ = {};
}

bool Breaker::OnFailure(TimePoint now, double share, bool silent) {
  if (state_ != BreakerState::kClosed || ++failures_ < options_.failures_max) return false;
  silent_ = silent;
  Open(now, share);
  return true;
}

bool Breaker::OnProbeFailed(TimePoint now, double share, bool silent) {
  if (state_ != BreakerState::kHalfOpen) return false;
  silent_ = silent;
  Open(now, share);
  return true;
}

void Breaker::Open(TimePoint now, double share) {
  state_ = BreakerState::kOpen;
  failures_ = 0;
  pause_ = std::clamp<Duration>(pause_ * 2, options_.pause_min, options_.pause_max);
  // Clients that lost a node together do not come back to it together.
  const double jittered = static_cast<double>(pause_.count()) * (0.5 + 0.5 * share);
  reopen_at_ = now + Duration(static_cast<Duration::rep>(jittered));
}

}  // namespace kdn::client
