// How many second requests a client may make: a share of its first ones, and one a second, so that
// a cluster in trouble never gets a multiple of its load. Retries and hedges draw on the same one.
// A request that found nobody, or whose node died, may be made again for nothing: no other node has
// worked for it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace kdn::client {

class RetryBudget {
 public:
  // As many as one channel has under way at most: the death of one node is covered by what has been
  // saved up.
  static constexpr double kSavedMax = 256;

  // `percent` of the first requests; 0: there are no second ones.
  explicit RetryBudget(std::uint32_t percent)
      : share_(static_cast<double>(percent) / 100), saved_(percent == 0 ? 0 : kSavedMax) {}

  void OnTime(Duration passed) {
    if (share_ == 0 || passed <= Duration{}) return;
    saved_ = std::min(saved_ + std::chrono::duration<double>(passed).count(), kSavedMax);
  }
  void OnRequest() { saved_ = std::min(saved_ + share_, kSavedMax); }
  // False: not now.
  [[nodiscard]] bool Take() {
    if (saved_ < 1) return false;
    saved_ -= 1;
    return true;
  }
  // Of a Take() that came to nothing.
  void GiveBack() { saved_ = std::min(saved_ + 1, kSavedMax); }
  [[nodiscard]] double saved() const { return saved_; }

 private:
  const double share_;
  double saved_;
};

}  // namespace kdn::client
