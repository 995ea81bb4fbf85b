// Goal: what a registry has written is read back, family by family.
#include "base/metrics_text.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/metrics.h"

namespace kdn {
namespace {

using std::chrono::microseconds;

TEST(MetricsTextTest, FamiliesAreSummedOverTheirLabelSets) {
  MetricRegistry registry;
  registry.CounterOf("reads_total", "help", R"(tier="dram",shard="0")").Add(3);
  registry.CounterOf("reads_total", "help", R"(tier="dram",shard="1")").Add(4);
  registry.CounterOf("reads_total", "help", R"(tier="disk",shard="0")").Add(10);
  registry.CounterOf("reads_total_more", "help").Add(100);
  registry.GaugeOf("bytes", "help").Set(77);
  const std::string text = registry.Render();
  EXPECT_EQ(MetricSum(text, "reads_total"), 17U);
  EXPECT_EQ(MetricSum(text, "reads_total", R"(tier="dram")"), 7U);
  EXPECT_EQ(MetricSum(text, "bytes"), 77U);
  EXPECT_EQ(MetricSum(text, "none"), 0U);
  EXPECT_EQ(MetricSum("", "none"), 0U);
  EXPECT_EQ(MetricSum("reads_total{", "reads_total"), 0U);
}

TEST(MetricsTextTest, BucketsComeBackAsCountsOfTheirOwn) {
  MetricRegistry registry;
  Histogram& first = registry.HistogramOf("time_seconds", "help", R"(shard="0")");
  Histogram& second = registry.HistogramOf("time_seconds", "help", R"(shard="1")");
  first.Record(microseconds(1));
  first.Record(microseconds(3));
  second.Record(microseconds(4));
  second.Record(std::chrono::hours(1));
  const auto buckets = MetricBuckets(registry.Render(), "time_seconds");
  ASSERT_EQ(buckets.size(), Histogram::kBucketCount);
  EXPECT_EQ(buckets[0], 1U);
  EXPECT_EQ(buckets[2], 2U);
  EXPECT_EQ(buckets.back(), 1U);
  EXPECT_EQ(std::accumulate(buckets.begin(), buckets.end(), 0U), 4U);
  EXPECT_TRUE(MetricBuckets(registry.Render(), "time").empty());
}

}  // namespace
}  // namespace kdn
