#include "tests/bench/paired.h"

#include <algorithm>
#include <cmath>

namespace kdn::bench {

Estimate EstimateOf(std::span<const Cluster> clusters) {
  double differences = 0.0;
  double weights = 0.0;
  for (const Cluster& c : clusters) {
    differences += c.difference;
    weights += c.weight;
  }
  const double mean = differences / weights;
  double squares = 0.0;
  for (const Cluster& c : clusters) {
    const double off = c.difference - mean * c.weight;
    squares += off * off;
  }
  const auto count = static_cast<double>(clusters.size());
  return {mean, std::sqrt(squares * count / (count - 1.0)) / weights};
}

Estimate EstimateOfAnswers(std::span<const Cluster> clusters, std::size_t won, std::size_t lost) {
  Estimate estimate = EstimateOf(clusters);
  double answers = 2.0;
  for (const Cluster& c : clusters) answers += c.weight;
  const double more = static_cast<double>(won) + 1.0;
  const double less = static_cast<double>(lost) + 1.0;
  const double square = more + less - (more - less) * (more - less) / answers;
  estimate.error = std::max(estimate.error, std::sqrt(square) / answers);
  return estimate;
}

}  // namespace kdn::bench
