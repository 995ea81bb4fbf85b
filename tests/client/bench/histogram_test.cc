// Goal: what the histogram says of a quantile is within 0.8 % of the truth over nine powers of ten,
// and parts that were recorded apart add up to the whole.
// Method: values are also kept in a sorted list, which is the truth.
#include "client/bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "client/bench/draw.h"

namespace kdn::bench {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogramTest, QuantilesAreWithinOneBucketOfTheTruth) {
  Lots lots(7);
  LatencyHistogram histogram;
  std::vector<std::int64_t> truth;
  for (int i = 0; i < 100'000; ++i) {
    // From 1 ns to 1000 s, as likely in each power of ten.
    truth.push_back(static_cast<std::int64_t>(std::pow(10.0, 12.0 * lots.Share())));
    histogram.Record(nanoseconds(truth.back()));
  }
  std::ranges::sort(truth);
  EXPECT_EQ(histogram.count(), truth.size());
  EXPECT_EQ(histogram.min().count(), truth.front());
  EXPECT_EQ(histogram.max().count(), truth.back());
  for (const double share : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * 1e5));
    const auto want = static_cast<double>(truth[rank == 0 ? 0 : rank - 1]);
    const auto got = static_cast<double>(histogram.Quantile(share).count());
    EXPECT_GE(got, want) << share;
    EXPECT_LE(got, want * (1.0 + 1.0 / 128) + 1.0) << share;
  }
}

TEST(LatencyHistogramTest, EveryBucketHoldsWhatLiesBetweenItsEdges) {
  for (std::uint64_t power = 0; power < LatencyHistogram::kRangeBits; ++power) {
    for (const std::int64_t step : {-1, 0, 1}) {
      const auto ns = std::max<std::int64_t>((std::int64_t{1} << power) + step, 0);
      LatencyHistogram histogram;
      histogram.Record(nanoseconds(ns));
      const auto restored = LatencyHistogram::Of(histogram.NonEmpty());
      ASSERT_TRUE(restored);
      EXPECT_LE(restored->min().count(), ns);
      EXPECT_GE(restored->max().count(), ns);
    }
  }
}

TEST(LatencyHistogramTest, PartsMergeToWhatOneWouldHaveSeen) {
  Lots lots(8);
  LatencyHistogram whole;
  std::array<LatencyHistogram, 3> parts;
  for (int i = 0; i < 30'000; ++i) {
    const nanoseconds value(lots.Below(1'000'000'000));
    whole.Record(value);
    parts[static_cast<std::size_t>(i) % 3].Record(value);
  }
  parts[0].Merge(parts[1]);
  parts[0].Merge(parts[2]);
  EXPECT_EQ(parts[0].NonEmpty(), whole.NonEmpty());
  EXPECT_EQ(parts[0].max(), whole.max());
  EXPECT_EQ(parts[0].min(), whole.min());
  EXPECT_EQ(parts[0].Mean(), whole.Mean());
}

TEST(LatencyHistogramTest, NegativeAndHugeDurationsAreKept) {
  LatencyHistogram histogram;
  histogram.Record(nanoseconds(-5));
  histogram.Record(std::chrono::hours(1000));
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.min().count(), 0);
  EXPECT_GT(histogram.max(), std::chrono::minutes(70));
}

TEST(LatencyHistogramTest, BucketsThatNoHistogramHasAreRefused) {
  EXPECT_FALSE(LatencyHistogram::Of({{1'000'000, 1}}));
  EXPECT_FALSE(LatencyHistogram::Of({{3, 0}}));
  EXPECT_FALSE(LatencyHistogram::Of({{3, UINT64_MAX}, {4, 1}}));
}

TEST(LatencyHistogramTest, WithoutRecordsEverythingIsZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5).count(), 0);
  EXPECT_EQ(histogram.Mean().count(), 0);
  EXPECT_EQ(histogram.min().count(), 0);
  EXPECT_EQ(histogram.max().count(), 0);
}

}  // namespace
}  // namespace kdn::bench
