// Goal: angles are those of the published formulas, and rows are exact to a float's rounding at any
// position.
// Method: cosines and sines against the system's library at angles small and large; scaled
// frequencies against figures worked out by hand from the formulas' corner cases.
#include "codec/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace kdn::codec {
namespace {

Rotary Plain(std::uint16_t dims, double base) {
  return {.pairing = RotaryPairing::kNeox, .dims = dims, .base = base};
}

TEST(RotaryAngles, CosinesAndSinesAreExact) {
  for (double angle = -2000.0; angle < 2000.0; angle += 0.37) {
    EXPECT_NEAR(CosSinOf(angle).cosine, std::cos(angle), 3e-16) << angle;
    EXPECT_NEAR(CosSinOf(angle).sine, std::sin(angle), 3e-16) << angle;
  }
  for (double angle = 1.0; angle < 5e8; angle *= 1.37) {
    EXPECT_NEAR(CosSinOf(angle).cosine, std::cos(angle), 1e-15) << angle;
    EXPECT_NEAR(CosSinOf(angle).sine, std::sin(angle), 1e-15) << angle;
  }
}

TEST(RotaryAngles, RowsAreTheSameFromWhereverOneBegins) {
  const auto angles = RotaryAngles::Make(Plain(64, 1e5));
  ASSERT_TRUE(angles);
  const std::size_t width = 2 * angles->pairs();
  std::vector<float> all(300 * width);
  angles->FillRows(1'000'000, 300, all.data());
  for (const std::size_t begin : {1U, 63U, 64U, 65U, 299U}) {
    std::vector<float> some((300 - begin) * width);
    angles->FillRows(1'000'000 + begin, 300 - begin, some.data());
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + begin * width)) << begin;
  }
  for (std::size_t t = 0; t < 300; ++t) {
    for (std::size_t i = 0; i < angles->pairs(); ++i) {
      const double angle = static_cast<double>(1'000'000 + t) * angles->frequencies()[i];
      EXPECT_NEAR(all[t * width + i], std::cos(angle), 1.5e-7);
      EXPECT_NEAR(all[t * width + angles->pairs() + i], std::sin(angle), 1.5e-7);
    }
  }
}

TEST(RotaryAngles, FrequenciesFallFromOneToNearlyOneOverTheBase) {
  const auto angles = RotaryAngles::Make(Plain(128, 5e5));
  ASSERT_TRUE(angles);
  EXPECT_DOUBLE_EQ(angles->frequencies().front(), 1.0);
  EXPECT_DOUBLE_EQ(angles->frequencies()[32], std::pow(5e5, -0.5));
}

TEST(RotaryAngles, LinearScalingDividesAll) {
  Rotary rotary = Plain(64, 1e4);
  rotary.scaling = RotaryScaling::kLinear;
  rotary.factor = 4.0;
  const auto angles = RotaryAngles::Make(rotary);
  ASSERT_TRUE(angles);
  EXPECT_DOUBLE_EQ(angles->frequencies().front(), 0.25);
}

TEST(RotaryAngles, Llama3ScalingKeepsFastPairsAndSlowsSlowOnes) {
  Rotary rotary = Plain(128, 5e5);  // as Llama-3.1-8B
  rotary.scaling = RotaryScaling::kLlama3;
  rotary.factor = 8.0;
  rotary.low_frequency_factor = 1.0;
  rotary.high_frequency_factor = 4.0;
  rotary.original_context = 8192.0;
  const auto angles = RotaryAngles::Make(rotary);
  const auto plain = RotaryAngles::Make(Plain(128, 5e5));
  ASSERT_TRUE(angles);
  for (std::size_t i = 0; i < 64; ++i) {
    const double turns = 8192.0 * plain->frequencies()[i] / (2.0 * std::numbers::pi);
    const double ratio = angles->frequencies()[i] / plain->frequencies()[i];
    if (turns > 4.0) {
      EXPECT_DOUBLE_EQ(ratio, 1.0) << i;
    } else if (turns < 1.0) {
      EXPECT_DOUBLE_EQ(ratio, 0.125) << i;
    } else {
      EXPECT_NEAR(ratio, 0.125 + 0.875 * (turns - 1.0) / 3.0, 1e-12) << i;
    }
  }
}

TEST(RotaryAngles, YarnScalingRampsBetweenItsBetas) {
  Rotary rotary = Plain(64, 1e4);  // as DeepSeek-V3's rotary part
  rotary.scaling = RotaryScaling::kYarn;
  rotary.factor = 40.0;
  rotary.low_frequency_factor = 1.0;    // beta_slow
  rotary.high_frequency_factor = 32.0;  // beta_fast
  rotary.original_context = 4096.0;
  const auto angles = RotaryAngles::Make(rotary);
  const auto plain = RotaryAngles::Make(Plain(64, 1e4));
  ASSERT_TRUE(angles);
  // Corrections run from pair floor(10.47) to ceil(22.51).
  for (std::size_t i = 0; i < 32; ++i) {
    const double ratio = angles->frequencies()[i] / plain->frequencies()[i];
    const double ramp = std::min(1.0, std::max(0.0, (static_cast<double>(i) - 10.0) / 13.0));
    EXPECT_NEAR(ratio, ramp / 40.0 + 1.0 - ramp, 1e-12) << i;
  }
}

TEST(RotaryAngles, DynamicNtkIsRefused) {
  Rotary rotary = Plain(64, 1e4);
  rotary.scaling = RotaryScaling::kDynamicNtk;
  EXPECT_EQ(RotaryAngles::Make(rotary).error().code(), Code::kUnimplemented);
}

}  // namespace
}  // namespace kdn::codec
