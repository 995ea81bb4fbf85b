#include "client/core/piece_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace kdn::client {

void PieceTimes::Add(Duration took) {
  const double us = std::chrono::duration<double, std::micro>(took).count();
  const double place = us <= 1 ? 0 : std::ceil(4 * std::log2(us));
  ++counts_[static_cast<std::size_t>(std::min(place, static_cast<double>(kBuckets - 1)))];
  if (++samples_ >= kSamplesMax) {
    samples_ = 0;
    for (std::uint16_t& count : counts_) {
      count = static_cast<std::uint16_t>(count / 2);
      samples_ += count;
    }
  }
  const bool first = samples_ >= kSamplesMin && !quantile_;
  if (++stale_ >= kRefreshEvery || first) Refresh();
}

void PieceTimes::Refresh() {
  stale_ = 0;
  if (samples_ < kSamplesMin) return;
  const std::uint32_t wanted = (samples_ * percent_ + 99) / 100;
  std::uint32_t seen = 0;
  std::size_t place = 0;
  while (place + 1 < kBuckets && (seen += counts_[place]) < wanted) ++place;
  const std::chrono::duration<double, std::micro> edge(std::exp2(static_cast<double>(place) / 4));
  quantile_ = std::chrono::duration_cast<Duration>(edge);
}

}  // namespace kdn::client
