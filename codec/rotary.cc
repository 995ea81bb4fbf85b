#include "codec/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace kdn::codec {
namespace {

// pi / 2 as a sum. Products of the first two with integers below 2^29 are exact.
constexpr double kHalfPiHigh = 0x1.921fb4p+0;
constexpr double kHalfPiMiddle = 0x1.4442dp-24;
constexpr double kHalfPiLow = 0x1.8469898cc517p-48;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// Taylor series up to x^16 and x^17: on [-pi/4, pi/4] what is left out is below 1e-16.
double CosineNearZero(double x) {
  const double y = x * x;
  double sum = 1.0 / 20922789888000.0;
  sum = sum * y - 1.0 / 87178291200.0;
  sum = sum * y + 1.0 / 479001600.0;
  sum = sum * y - 1.0 / 3628800.0;
  sum = sum * y + 1.0 / 40320.0;
  sum = sum * y - 1.0 / 720.0;
  sum = sum * y + 1.0 / 24.0;
  sum = sum * y - 1.0 / 2.0;
  return sum * y + 1.0;
}

double SineNearZero(double x) {
  const double y = x * x;
  double sum = 1.0 / 355687428096000.0;
  sum = sum * y - 1.0 / 1307674368000.0;
  sum = sum * y + 1.0 / 6227020800.0;
  sum = sum * y - 1.0 / 39916800.0;
  sum = sum * y + 1.0 / 362880.0;
  sum = sum * y - 1.0 / 5040.0;
  sum = sum * y + 1.0 / 120.0;
  sum = sum * y - 1.0 / 6.0;
  return x + x * y * sum;
}

// Slow pairs turn `factor` times slower, fast ones as trained, those between by a linear blend.
double ScaleAsLlama3(const Rotary& rotary, double frequency) {
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  const double slow_from = rotary.original_context / rotary.low_frequency_factor;
  const double fast_to = rotary.original_context / rotary.high_frequency_factor;
  if (wavelength < fast_to) return frequency;
  if (wavelength > slow_from) return frequency / rotary.factor;
  const double blend = (rotary.original_context / wavelength - rotary.low_frequency_factor) /
                       (rotary.high_frequency_factor - rotary.low_frequency_factor);
  return (1.0 - blend) * frequency / rotary.factor + blend * frequency;
}

// The pair that turns `turns` times within the original context, as a real number.
double YarnPairOf(const Rotary& rotary, double turns) {
  return rotary.dims * std::log(rotary.original_context / (turns * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rotary.base));
}

double ScaleAsYarn(const Rotary& rotary, std::size_t pair, double frequency) {
  const double last = rotary.dims - 1.0;
  const double low = std::max(std::floor(YarnPairOf(rotary, rotary.high_frequency_factor)), 0.0);
  double high = std::min(std::ceil(YarnPairOf(rotary, rotary.low_frequency_factor)), last);
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / rotary.factor * ramp + frequency * (1.0 - ramp);
}

double Scale(const Rotary& rotary, std::size_t pair, double frequency) {
  switch (rotary.scaling) {
    case RotaryScaling::kLinear:
      return frequency / rotary.factor;
    case RotaryScaling::kLlama3:
      return ScaleAsLlama3(rotary, frequency);
    case RotaryScaling::kYarn:
      return ScaleAsYarn(rotary, pair, frequency);
    case RotaryScaling::kNone:
    case RotaryScaling::kDynamicNtk:
      break;
  }
  return frequency;
}

}  // namespace

CosSin CosSinOf(double angle) {
  const double quarters = std::nearbyint(angle * kTwoOverPi);
  const double x =
      ((angle - quarters * kHalfPiHigh) - quarters * kHalfPiMiddle) - quarters * kHalfPiLow;
  const double c = CosineNearZero(x);
  const double s = SineNearZero(x);
  switch (static_cast<std::int64_t>(quarters) & 3) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

Result<RotaryAngles> RotaryAngles::Make(const Rotary& rotary) {
  if (rotary.scaling == RotaryScaling::kDynamicNtk) {
    return Error(Code::kUnimplemented, "dynamic NTK keys cannot be moved to another position");
  }
  std::vector<double> frequencies;
  if (rotary.pairing != RotaryPairing::kNone) {
    for (std::size_t i = 0; i < rotary.dims / 2U; ++i) {
      const double trained = std::pow(rotary.base, -2.0 * static_cast<double>(i) / rotary.dims);
      frequencies.push_back(Scale(rotary, i, trained));
    }
  }
  return RotaryAngles(std::move(frequencies));
}

RotaryAngles::RotaryAngles(std::vector<double> frequencies)
    : frequencies_(std::move(frequencies)), small_(kStride * 2 * frequencies_.size()) {
  double* row = small_.data();
  for (std::size_t b = 0; b < kStride; ++b, row += 2 * pairs()) {
    for (std::size_t i = 0; i < pairs(); ++i) {
      const CosSin turn = CosSinOf(static_cast<double>(b) * frequencies_[i]);
      row[i] = turn.cosine;
      row[pairs() + i] = turn.sine;
    }
  }
}

void RotaryAngles::FillRows(std::uint64_t first, std::size_t count, float* rows) const {
  const std::size_t width = pairs();
  std::vector<CosSin> large(width);
  std::uint64_t large_of = ~std::uint64_t{0};
  for (std::uint64_t position = first; position < first + count; ++position, rows += 2 * width) {
    const std::uint64_t front = position - position % kStride;
    if (front != large_of) {
      large_of = front;
      for (std::size_t i = 0; i < width; ++i) {
        large[i] = CosSinOf(static_cast<double>(front) * frequencies_[i]);
      }
    }
    const double* small = small_.data() + position % kStride * 2 * width;
    for (std::size_t i = 0; i < width; ++i) {
      const double c = small[i];
      const double s = small[width + i];
      rows[i] = static_cast<float>(large[i].cosine * c - large[i].sine * s);
      rows[width + i] = static_cast<float>(large[i].sine * c + large[i].cosine * s);
    }
  }
}

}  // namespace kdn::codec
