// Counters, gauges and histograms by handle: looked up once by name, then updated without a lock
// or a lookup. A registry renders itself in the Prometheus text format; who serves that text over
// HTTP is not decided here.
//
// Thread-safety: safe. A handle lives as long as its registry.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace kdn {

class Counter {
 public:
  void Add(std::uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(std::int64_t change) { value_.fetch_add(change, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// Durations in buckets that double from 1 us to 2^25 us (34 s), then one for the rest.
class Histogram {
 public:
  static constexpr std::size_t kBucketCount = 27;
  void Record(std::chrono::nanoseconds duration);
  [[nodiscard]] std::uint64_t count() const;
  // Upper edge of the bucket in which the given share (0 to 1) of all records is reached; 2^26 us
  // stands for the unbounded one. 0 without records.
  [[nodiscard]] std::chrono::microseconds Quantile(double share) const;

 private:
  friend class MetricRegistry;
  std::array<std::atomic<std::uint64_t>, kBucketCount> buckets_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

class MetricRegistry {
 public:
  MetricRegistry() = default;
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;

  // The metric of this name and label set, made at the first call. `labels` is written as in the
  // text format without braces: `tier="dram",level="exact"`. Requires: one name, one kind.
  Counter& CounterOf(std::string_view name, std::string_view help, std::string_view labels = {});
  Gauge& GaugeOf(std::string_view name, std::string_view help, std::string_view labels = {});
  Histogram& HistogramOf(std::string_view name, std::string_view help,
                         std::string_view labels = {});

  // All metrics in the Prometheus text format, version 0.0.4.
  [[nodiscard]] std::string Render() const;

 private:
  struct Family {
    std::string help;
    std::map<std::string, std::unique_ptr<Counter>, std::less<>> counters;
    std::map<std::string, std::unique_ptr<Gauge>, std::less<>> gauges;
    std::map<std::string, std::unique_ptr<Histogram>, std::less<>> histograms;
  };
  Family& FamilyOf(std::string_view name, std::string_view help);

  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;  // guarded by mutex_
};

}  // namespace kdn
