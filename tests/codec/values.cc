#include "tests/codec/values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace kdn::codec {
namespace {

// splitmix64: what std distributions give differs between standard libraries.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  // The sum of twelve uniform draws: close to a Gaussian, and exact in every float format.
  float Gaussian() {
    std::int64_t sum = 0;
    for (int i = 0; i < 3; ++i) {
      std::uint64_t bits = Next();
      for (int k = 0; k < 4; ++k, bits >>= 16) sum += static_cast<std::int64_t>(bits & 0xFFFF);
    }
    return static_cast<float>(sum - 6 * 65535) / 65536.0F;
  }

 private:
  std::uint64_t state_;
};

struct Format {
  unsigned exponent_bits;
  unsigned mantissa_bits;
};
constexpr std::array<Format, 5> kFormats = {{{8, 7}, {5, 10}, {8, 23}, {4, 3}, {5, 2}}};

// Cuts a float down to a format; what its exponent cannot hold becomes its largest or 0.
std::uint32_t Truncate(float value, const Format& format) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>((bits >> 23) & 0xFF) - 127 + bias;
  const int top = (1 << format.exponent_bits) - 2;
  const std::uint32_t mantissa = (bits & 0x7FFFFF) >> (23 - format.mantissa_bits);
  const std::uint32_t sign = (bits >> 31) << (format.exponent_bits + format.mantissa_bits);
  if (exponent <= 0) return sign;
  return sign | (static_cast<std::uint32_t>(std::min(exponent, top)) << format.mantissa_bits) |
         mantissa;
}

std::uint32_t Special(std::uint64_t draw, const Format& format) {
  const unsigned width = 1 + format.exponent_bits + format.mantissa_bits;
  const std::uint32_t mantissa_mask = (1U << format.mantissa_bits) - 1;
  const std::uint32_t exponents = ((1U << format.exponent_bits) - 1) << format.mantissa_bits;
  const std::uint32_t sign = static_cast<std::uint32_t>(draw & 1) << (width - 1);
  const auto payload = static_cast<std::uint32_t>(draw >> 8) & mantissa_mask;
  switch ((draw >> 1) & 3) {
    case 0:
      return sign;  // zeros of both signs
    case 1:
      return sign | exponents;  // infinities
    case 2:
      return sign | exponents | payload;  // NaNs
    default:
      return sign | payload;  // denormals
  }
}

std::uint32_t Draw(Pattern pattern, const Format& format, std::size_t i, Draws& draws) {
  switch (pattern) {
    case Pattern::kGaussian:
      return Truncate(3.0F * draws.Gaussian(), format);
    case Pattern::kHeavyTailed: {
      const float scale =
          std::bit_cast<float>(static_cast<std::uint32_t>(87 + draws.Next() % 80) << 23);
      return Truncate(scale * draws.Gaussian(), format);
    }
    case Pattern::kRandomBits:
      return static_cast<std::uint32_t>(draws.Next());
    case Pattern::kEveryBits:
      return static_cast<std::uint32_t>(i * 0x10001);
    case Pattern::kConstant:
      return 0x3F8A5C71U;
    case Pattern::kZeroHeavy: {
      const std::uint64_t draw = draws.Next();
      if (draw % 64 != 0) return Truncate(draw % 4 == 1 ? -0.0F : 0.0F, format);
      return static_cast<std::uint32_t>(draw >> 32);
    }
    case Pattern::kSpecials:
      return Special(draws.Next(), format);
  }
  return 0;
}

}  // namespace

std::vector<std::byte> MakeValues(DType dtype, Pattern pattern, std::size_t count,
                                  std::uint64_t seed) {
  const std::size_t size = DTypeBytes(dtype);
  std::vector<std::byte> values(count * size);
  Draws draws(seed);
  const Format& format = kFormats[static_cast<std::size_t>(dtype)];
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = Draw(pattern, format, i, draws);
    std::memcpy(values.data() + i * size, &bits, size);
  }
  return values;
}

std::vector<std::byte> MakeRows(DType dtype, std::size_t rows, std::size_t channels, float bias,
                                std::uint64_t seed) {
  constexpr std::size_t kSignals = 4;
  Draws draws(seed);
  std::vector<float> mean(channels);
  std::vector<float> weight(channels * kSignals);
  for (std::size_t c = 0; c < channels; ++c) {
    // A few channels are far off, most are not.
    mean[c] = draws.Gaussian() * (c % 11 == 3 ? bias : 0.25F);
    for (std::size_t k = 0; k < kSignals; ++k) weight[c * kSignals + k] = draws.Gaussian();
  }
  const std::size_t size = DTypeBytes(dtype);
  const Format& format = kFormats[static_cast<std::size_t>(dtype)];
  std::vector<std::byte> values(rows * channels * size);
  std::array<float, kSignals> signal{};
  for (std::size_t i = 0; i < rows * channels; ++i) {
    const std::size_t c = i % channels;
    if (c == 0) {
      for (float& x : signal) x = draws.Gaussian();
    }
    float value = mean[c] + 0.5F * draws.Gaussian();
    for (std::size_t k = 0; k < kSignals; ++k) {
      value = value + signal[k] * weight[c * kSignals + k];
    }
    const std::uint32_t bits = Truncate(value, format);
    std::memcpy(values.data() + i * size, &bits, size);
  }
  return values;
}

std::string PatternName(Pattern pattern) {
  constexpr std::array kNames = {"gaussian", "heavy_tailed", "random_bits", "every_bits",
                                 "constant", "zero_heavy",   "specials"};
  return kNames[static_cast<std::size_t>(pattern)];
}

}  // namespace kdn::codec
