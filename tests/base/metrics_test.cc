#include "base/metrics.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace kdn {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(MetricRegistry, SameNameAndLabelsAreOneMetric) {
  MetricRegistry registry;
  registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"dram\"").Add(2);
  registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"dram\"").Add();
  registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"disk\"").Add(5);
  EXPECT_EQ(registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"dram\"").value(), 3U);
}

TEST(MetricRegistry, RendersCountersAndGaugesInTheTextFormat) {
  MetricRegistry registry;
  registry.GaugeOf("kdn_bytes", "Bytes in use.").Set(-4);
  registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"dram\"").Add(2);
  registry.CounterOf("kdn_reads_total", "Reads.", "tier=\"disk\"").Add(5);
  EXPECT_EQ(registry.Render(),
            "# HELP kdn_bytes Bytes in use.\n"
            "# TYPE kdn_bytes gauge\n"
            "kdn_bytes -4\n"
            "# HELP kdn_reads_total Reads.\n"
            "# TYPE kdn_reads_total counter\n"
            "kdn_reads_total{tier=\"disk\"} 5\n"
            "kdn_reads_total{tier=\"dram\"} 2\n");
}

TEST(MetricRegistry, RendersHistogramsCumulativelyInSeconds) {
  MetricRegistry registry;
  Histogram& histogram = registry.HistogramOf("kdn_read_seconds", "Time of a read.", "a=\"b\"");
  histogram.Record(microseconds(3));
  histogram.Record(milliseconds(1));
  histogram.Record(seconds(100));
  const std::string text = registry.Render();
  for (const char* line : {
           "# TYPE kdn_read_seconds histogram\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"0.000002\"} 0\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"0.000004\"} 1\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"0.000512\"} 1\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"0.001024\"} 2\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"33.554432\"} 2\n",
           "kdn_read_seconds_bucket{a=\"b\",le=\"+Inf\"} 3\n",
           "kdn_read_seconds_sum{a=\"b\"} 100.001003\n",
           "kdn_read_seconds_count{a=\"b\"} 3\n",
       }) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
  }
}

TEST(MetricRegistry, BracesOfAnUnlabelledHistogramHoldTheEdgeAlone) {
  MetricRegistry registry;
  registry.HistogramOf("kdn_x_seconds", "X.");
  EXPECT_NE(registry.Render().find("kdn_x_seconds_bucket{le=\"+Inf\"} 0\n"), std::string::npos);
}

TEST(MetricRegistry, CountsFromManyThreadsAreAllThere) {
  constexpr int kThreads = 4;
  constexpr int kTimes = 2000;
  MetricRegistry registry;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&registry] {
      for (int n = 0; n < kTimes; ++n) {
        registry.CounterOf("kdn_reads_total", "Reads.").Add();
        registry.HistogramOf("kdn_read_seconds", "Time of a read.").Record(microseconds(n));
        if (n % 500 == 0) static_cast<void>(registry.Render());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.CounterOf("kdn_reads_total", "Reads.").value(), kThreads * kTimes);
  EXPECT_EQ(registry.HistogramOf("kdn_read_seconds", "Time of a read.").count(), kThreads * kTimes);
}

TEST(Histogram, AnEdgeBelongsToTheBucketBelowIt) {
  Histogram histogram;
  histogram.Record(microseconds(8));
  EXPECT_EQ(histogram.Quantile(1.0), microseconds(8));
  histogram.Record(nanoseconds(8001));
  EXPECT_EQ(histogram.Quantile(1.0), microseconds(16));
}

TEST(Histogram, QuantilesAreUpperEdges) {
  Histogram histogram;
  for (int i = 0; i < 99; ++i) histogram.Record(microseconds(100));
  histogram.Record(milliseconds(50));
  EXPECT_EQ(histogram.count(), 100U);
  EXPECT_EQ(histogram.Quantile(0.5), microseconds(128));
  EXPECT_EQ(histogram.Quantile(0.99), microseconds(128));
  EXPECT_EQ(histogram.Quantile(0.999), microseconds(65536));
}

TEST(Histogram, WithoutRecordsHasQuantileZero) {
  EXPECT_EQ(Histogram().Quantile(0.5), microseconds(0));
}

TEST(Histogram, TakesNegativeAndHugeDurations) {
  Histogram histogram;
  histogram.Record(nanoseconds(-1));
  EXPECT_EQ(histogram.Quantile(1.0), microseconds(1));
  histogram.Record(std::chrono::hours(1000));
  EXPECT_EQ(histogram.Quantile(1.0), microseconds(1 << 26));
}

}  // namespace
}  // namespace kdn
