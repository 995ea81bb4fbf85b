#include "client/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace kdn::bench {
namespace {

constexpr std::uint64_t kLinear = std::uint64_t{1} << LatencyHistogram::kPrecisionBits;
constexpr std::uint64_t kTop = (std::uint64_t{1} << LatencyHistogram::kRangeBits) - 1;

std::chrono::nanoseconds Nanoseconds(std::uint64_t ns) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
}

}  // namespace

// Values below 2^7 have a bucket each. From there on the highest bit names the power, and the seven
// bits behind it the bucket within it.
std::size_t LatencyHistogram::IndexOf(std::uint64_t ns) {
  if (ns < kLinear) return ns;
  const auto power = static_cast<std::uint32_t>(std::bit_width(ns)) - 1;
  const std::uint32_t shift = power - kPrecisionBits;
  return (std::size_t{shift + 1} << kPrecisionBits) + ((ns >> shift) & (kLinear - 1));
}

std::uint64_t LatencyHistogram::LowerEdge(std::size_t index) {
  if (index < kLinear) return index;
  const auto shift = static_cast<std::uint32_t>(index >> kPrecisionBits) - 1;
  return (kLinear + (index & (kLinear - 1))) << shift;
}

std::uint64_t LatencyHistogram::UpperEdge(std::size_t index) {
  return LowerEdge(index + 1) - 1;
}

void LatencyHistogram::Record(std::chrono::nanoseconds duration) {
  const auto ns =
      std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)), kTop);
  ++counts_[IndexOf(ns)];
  ++count_;
  sum_ns_ += static_cast<double>(ns);
  min_ns_ = std::min(min_ns_, ns);
  max_ns_ = std::max(max_ns_, ns);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

std::chrono::nanoseconds LatencyHistogram::min() const {
  return Nanoseconds(count_ == 0 ? 0 : min_ns_);
}

std::chrono::nanoseconds LatencyHistogram::max() const {
  return Nanoseconds(max_ns_);
}

std::chrono::nanoseconds LatencyHistogram::Mean() const {
  if (count_ == 0) return Nanoseconds(0);
  return Nanoseconds(static_cast<std::uint64_t>(sum_ns_ / static_cast<double>(count_)));
}

std::chrono::nanoseconds LatencyHistogram::Quantile(double share) const {
  if (count_ == 0) return Nanoseconds(0);
  const double wanted = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
  std::uint64_t seen = 0;
  std::size_t i = 0;
  while ((seen += counts_[i]) < rank) ++i;
  return Nanoseconds(std::clamp(UpperEdge(i), min_ns_, max_ns_));
}

LatencyHistogram::Buckets LatencyHistogram::NonEmpty() const {
  Buckets buckets;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (counts_[i] > 0) buckets.emplace_back(static_cast<std::uint32_t>(i), counts_[i]);
  }
  return buckets;
}

Result<LatencyHistogram> LatencyHistogram::Of(const Buckets& buckets) {
  LatencyHistogram histogram;
  for (const auto& [index, count] : buckets) {
    if (index >= kBuckets || count == 0 || count > UINT64_MAX - histogram.count_) {
      return Error(Code::kInvalidArgument, "no histogram has bucket " + std::to_string(index) +
                                               " with " + std::to_string(count) + " records");
    }
    const std::uint64_t low = LowerEdge(index);
    const std::uint64_t high = UpperEdge(index);
    histogram.counts_[index] += count;
    histogram.count_ += count;
    histogram.sum_ns_ += static_cast<double>(count) * (static_cast<double>(low + high) / 2.0);
    histogram.min_ns_ = std::min(histogram.min_ns_, low);
    histogram.max_ns_ = std::max(histogram.max_ns_, high);
  }
  return histogram;
}

}  // namespace kdn::bench
