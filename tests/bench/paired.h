// Paired comparisons of one thing measured twice over the same samples, and how far off chance may
// have put them.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <span>

namespace kdn::bench {

// What was measured of samples that hang together, such as questions over one text: chance acts on
// clusters, not on the samples in them.
struct Cluster {
  double difference = 0.0;  // sum of what the one side has more than the other
  double weight = 0.0;      // sum of what differences are held against
};

struct Estimate {
  double mean = 0.0;   // sum of differences over sum of weights
  double error = 0.0;  // its standard error

  // One-sided, 95 %: the truth lies above, or below.
  [[nodiscard]] double Low() const { return mean - kQuantile * error; }
  [[nodiscard]] double High() const { return mean + kQuantile * error; }
  static constexpr double kQuantile = 1.6449;  // of the standard normal distribution, at 0.95
};

// A ratio of sums with the standard error that the scatter of clusters around it says. Requires: at
// least 2 clusters, weights that add up to more than 0.
[[nodiscard]] Estimate EstimateOf(std::span<const Cluster> clusters);

// For answers that are right or wrong: as EstimateOf(), but no surer than `won` answers that only
// the one side has, and `lost` ones that only the other has, allow where they are few (Bonett and
// Price 2012: one is added to each). Weights are numbers of answers.
[[nodiscard]] Estimate EstimateOfAnswers(std::span<const Cluster> clusters, std::size_t won,
                                         std::size_t lost);

}  // namespace kdn::bench
