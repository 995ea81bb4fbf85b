#include "tests/bench/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace kdn::bench {
namespace {

TEST(Paired, MeanIsTheRatioOfSums) {
  const std::vector<Cluster> clusters = {{1.0, 10.0}, {3.0, 20.0}, {-1.0, 30.0}};
  EXPECT_DOUBLE_EQ(EstimateOf(clusters).mean, 3.0 / 60.0);
}

TEST(Paired, ErrorOfEqualClustersIsThatOfTheirMean) {
  // Differences 1, 2, 3: variance 1, standard error of the mean sqrt(1 / 3).
  const std::vector<Cluster> clusters = {{1.0, 1.0}, {2.0, 1.0}, {3.0, 1.0}};
  const Estimate estimate = EstimateOf(clusters);
  EXPECT_DOUBLE_EQ(estimate.error, std::sqrt(1.0 / 3.0));
  EXPECT_NEAR(estimate.Low(), 2.0 - 1.6449 * std::sqrt(1.0 / 3.0), 1e-12);
  EXPECT_NEAR(estimate.High(), 2.0 + 1.6449 * std::sqrt(1.0 / 3.0), 1e-12);
}

TEST(Paired, SamplesThatHangTogetherCountOnce) {
  // Four clusters that differ as wholes against the same 40 answers one by one.
  std::vector<Cluster> wholes;
  std::vector<Cluster> singles;
  for (int c = 0; c < 4; ++c) {
    const double each = c % 2 == 0 ? -1.0 : 0.0;
    wholes.push_back({10 * each, 10.0});
    for (int i = 0; i < 10; ++i) singles.push_back({each, 1.0});
  }
  EXPECT_DOUBLE_EQ(EstimateOf(wholes).mean, EstimateOf(singles).mean);
  EXPECT_GT(EstimateOf(wholes).error, 3.0 * EstimateOf(singles).error);
}

TEST(Paired, NoDifferenceAtAllIsNotCertainty) {
  const std::vector<Cluster> clusters(4000, {0.0, 1.0});
  EXPECT_EQ(EstimateOf(clusters).error, 0.0);
  const Estimate estimate = EstimateOfAnswers(clusters, 0, 0);
  EXPECT_EQ(estimate.mean, 0.0);
  EXPECT_NEAR(estimate.Low(), -1.6449 * std::sqrt(2.0) / 4002.0, 1e-12);
}

TEST(Paired, WonAndLostAnswersBothMakeItLessSure) {
  std::vector<Cluster> clusters(1000, {0.0, 4.0});
  for (int i = 0; i < 40; ++i) clusters[i].difference = i % 2 == 0 ? 1.0 : -1.0;
  const Estimate estimate = EstimateOfAnswers(clusters, 20, 20);
  EXPECT_EQ(estimate.mean, 0.0);
  EXPECT_NEAR(estimate.error, std::sqrt(42.0) / 4002.0, 1e-12);
}

}  // namespace
}  // namespace kdn::bench
