// How long a node has taken for its pieces lately: a histogram that forgets, and a quantile of it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace kdn::client {

class PieceTimes {
 public:
  // Fewer say nothing about a tail.
  static constexpr std::uint32_t kSamplesMin = 32;

  // `percent`, 50 to 99: which quantile is kept.
  explicit PieceTimes(std::uint32_t percent) : percent_(percent) {}

  void Add(Duration took);
  // The upper edge of the bucket in which the quantile lies, at most 19 % above it; nothing before
  // kSamplesMin.
  [[nodiscard]] std::optional<Duration> Quantile() const { return quantile_; }

 private:
  // Four to each doubling, from 1 us to 67 s.
  static constexpr std::size_t kBuckets = 26 * 4 + 1;
  // Then all counts are halved, so that what was long ago weighs less and less.
  static constexpr std::uint32_t kSamplesMax = 1024;
  static constexpr std::uint32_t kRefreshEvery = 16;

  void Refresh();

  const std::uint32_t percent_;
  std::array<std::uint16_t, kBuckets> counts_{};
  std::uint32_t samples_ = 0;
  std::uint32_t stale_ = 0;  // added since the quantile was found
  std::optional<Duration> quantile_;
};

}  // namespace kdn::client
