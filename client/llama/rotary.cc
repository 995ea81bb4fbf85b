#include "client/llama/rotary.h"

#include <cmath>
#include <numbers>

namespace kdn::llama {
namespace {

// Slow channels turn `factor` times slower, fast ones as trained, those between by a linear blend.
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

}  // namespace

std::vector<double> InverseFrequencies(const Rotary& rotary) {
  std::vector<double> inverse(rotary.dims / 2U);
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = std::pow(rotary.base, -2.0 * static_cast<double>(i) / rotary.dims);
    if (rotary.scaling == RotaryScaling::kLinear) inverse[i] /= rotary.factor;
    if (rotary.scaling == RotaryScaling::kLlama3) inverse[i] = ScaleAsLlama3(rotary, inverse[i]);
  }
  return inverse;
}

void RotaryTable::Extend(std::size_t count) {
  const std::size_t width = 2 * inverse_.size();
  std::size_t position = rows_.size() / width;
  if (position >= count) return;
  rows_.resize(count * width);
  for (; position < count; ++position) {
    float* row = rows_.data() + position * width;
    for (std::size_t i = 0; i < inverse_.size(); ++i) {
      const double angle = static_cast<double>(position) * inverse_[i];
      row[i] = static_cast<float>(std::cos(angle));
      row[inverse_.size() + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace kdn::llama
