#include "base/metrics.h"

#include <bit>

namespace kdn {
namespace {

constexpr std::size_t kFiniteBuckets = Histogram::kBucketCount - 1;

std::size_t BucketOf(std::uint64_t us) {
  if (us <= 1) return 0;
  const auto power = static_cast<std::size_t>(std::bit_width(us - 1));  // us <= 2^power
  return power < kFiniteBuckets ? power : kFiniteBuckets;
}

std::string Braced(std::string_view labels, std::string_view more = {}) {
  if (labels.empty() && more.empty()) return {};
  std::string text = "{";
  text.append(labels);
  if (!labels.empty() && !more.empty()) text.push_back(',');
  text.append(more).push_back('}');
  return text;
}

std::string Seconds(std::uint64_t us) {
  return std::to_string(static_cast<double>(us) / 1e6);
}

}  // namespace

void Histogram::Record(std::chrono::nanoseconds duration) {
  const auto ns = static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count());
  buckets_[BucketOf((ns + 999) / 1000)].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(ns, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

std::chrono::microseconds Histogram::Quantile(double share) const {
  const std::uint64_t total = count();
  if (total == 0) return std::chrono::microseconds(0);
  const double wanted = share * static_cast<double>(total);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    seen += buckets_[i].load(std::memory_order_relaxed);
    if (static_cast<double>(seen) >= wanted) return std::chrono::microseconds(1LL << i);
  }
  return std::chrono::microseconds(1LL << kFiniteBuckets);
}

MetricRegistry::Family& MetricRegistry::FamilyOf(std::string_view name, std::string_view help) {
  const auto found = families_.find(name);
  if (found != families_.end()) return found->second;
  Family& family = families_[std::string(name)];
  family.help = help;
  return family;
}

Counter& MetricRegistry::CounterOf(std::string_view name, std::string_view help,
                                   std::string_view labels) {
  const std::scoped_lock lock(mutex_);
  auto& slot = FamilyOf(name, help).counters[std::string(labels)];
  if (!slot) slot = std::make_unique<Counter>();
  return *slot;
}

Gauge& MetricRegistry::GaugeOf(std::string_view name, std::string_view help,
                               std::string_view labels) {
  const std::scoped_lock lock(mutex_);
  auto& slot = FamilyOf(name, help).gauges[std::string(labels)];
  if (!slot) slot = std::make_unique<Gauge>();
  return *slot;
}

Histogram& MetricRegistry::HistogramOf(std::string_view name, std::string_view help,
                                       std::string_view labels) {
  const std::scoped_lock lock(mutex_);
  auto& slot = FamilyOf(name, help).histograms[std::string(labels)];
  if (!slot) slot = std::make_unique<Histogram>();
  return *slot;
}

std::string MetricRegistry::Render() const {
  const std::scoped_lock lock(mutex_);
  std::string text;
  for (const auto& [name, family] : families_) {
    const char* kind = !family.counters.empty() ? "counter"
                       : !family.gauges.empty() ? "gauge"
                                                : "histogram";
    text.append("# HELP ").append(name).append(" ").append(family.help).append("\n# TYPE ");
    text.append(name).append(" ").append(kind).append("\n");
    for (const auto& [labels, counter] : family.counters) {
      text.append(name).append(Braced(labels)).append(" ");
      text.append(std::to_string(counter->value())).append("\n");
    }
    for (const auto& [labels, gauge] : family.gauges) {
      text.append(name).append(Braced(labels)).append(" ");
      text.append(std::to_string(gauge->value())).append("\n");
    }
    for (const auto& [labels, histogram] : family.histograms) {
      std::uint64_t total = 0;
      for (std::size_t i = 0; i < Histogram::kBucketCount; ++i) {
        total += histogram->buckets_[i].load(std::memory_order_relaxed);
        const std::string edge = i < kFiniteBuckets ? Seconds(1ULL << i) : "+Inf";
        text.append(name).append("_bucket").append(Braced(labels, "le=\"" + edge + "\""));
        text.append(" ").append(std::to_string(total)).append("\n");
      }
      const std::uint64_t sum_us = histogram->sum_ns_.load(std::memory_order_relaxed) / 1000;
      text.append(name).append("_sum").append(Braced(labels)).append(" ");
      text.append(Seconds(sum_us)).append("\n");
      text.append(name).append("_count").append(Braced(labels)).append(" ");
      text.append(std::to_string(total)).append("\n");
    }
  }
  return text;
}

}  // namespace kdn
