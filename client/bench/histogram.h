// How long operations took, to within 0.8 %: counts in buckets that are linear within a power of
// two and double from one to the next, like HdrHistogram's. Two histograms add up to what one would
// have seen; the text form carries one from a machine to another.
//
// Thread-safety: not safe; each thread has its own, and they are merged.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kdn::bench {

class LatencyHistogram {
 public:
  // Buckets per power of two: 2^7, so that a bucket is at most 1/128 of its values wide.
  static constexpr std::uint32_t kPrecisionBits = 7;
  // Durations from 2^42 ns (73 minutes) on are counted as that.
  static constexpr std::uint32_t kRangeBits = 42;

  void Record(std::chrono::nanoseconds duration);
  void Merge(const LatencyHistogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  // Exact. 0 without records.
  [[nodiscard]] std::chrono::nanoseconds min() const;
  [[nodiscard]] std::chrono::nanoseconds max() const;
  [[nodiscard]] std::chrono::nanoseconds Mean() const;
  // The least value that the given share (0 to 1) of all records does not exceed, as the upper edge
  // of its bucket, and never above max(). 0 without records.
  [[nodiscard]] std::chrono::nanoseconds Quantile(double share) const;

  // (index, count) of the buckets that are not empty, ascending.
  using Buckets = std::vector<std::pair<std::uint32_t, std::uint64_t>>;
  [[nodiscard]] Buckets NonEmpty() const;
  // A histogram of such buckets; min() and max() are then their edges, the mean their middles'.
  // kInvalidArgument for indices out of range or counts that overflow.
  [[nodiscard]] static Result<LatencyHistogram> Of(const Buckets& buckets);

 private:
  static constexpr std::size_t kBuckets = std::size_t{kRangeBits - kPrecisionBits + 1}
                                          << kPrecisionBits;
  static std::size_t IndexOf(std::uint64_t ns);
  static std::uint64_t LowerEdge(std::size_t index);
  static std::uint64_t UpperEdge(std::size_t index);

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(kBuckets);
  std::uint64_t count_ = 0;
  double sum_ns_ = 0.0;
  std::uint64_t min_ns_ = UINT64_MAX;
  std::uint64_t max_ns_ = 0;
};

}  // namespace kdn::bench
