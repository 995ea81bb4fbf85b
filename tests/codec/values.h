// Values for codec tests: bit patterns of every type, from well-behaved to adversarial.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/object/model_spec.h"

namespace kdn::codec {

enum class Pattern : std::uint8_t {
  kGaussian,     // what keys and values look like
  kHeavyTailed,  // magnitudes over many powers of two
  kRandomBits,   // every bit pattern: NaN payloads, infinities, denormals, -0
  kEveryBits,    // counts through the bit patterns
  kConstant,
  kZeroHeavy,  // mostly 0 and -0 with a few outliers
  kSpecials,   // only NaNs, infinities, denormals and zeros of both signs
};

inline constexpr Pattern kAllPatterns[] = {
    Pattern::kGaussian, Pattern::kHeavyTailed, Pattern::kRandomBits, Pattern::kEveryBits,
    Pattern::kConstant, Pattern::kZeroHeavy,   Pattern::kSpecials};
inline constexpr DType kAllDTypes[] = {DType::kBf16, DType::kFp16, DType::kFp32, DType::kFp8E4M3,
                                       DType::kFp8E5M2};

// `count` little-endian values. The same on every machine.
[[nodiscard]] std::vector<std::byte> MakeValues(DType dtype, Pattern pattern, std::size_t count,
                                                std::uint64_t seed);

// Rows of channels that share a few signals and have noise of their own, around means of up to
// `bias`: what transforms are for, and what the K biases of some models look like. The same on
// every machine.
[[nodiscard]] std::vector<std::byte> MakeRows(DType dtype, std::size_t rows, std::size_t channels,
                                              float bias, std::uint64_t seed);

[[nodiscard]] std::string PatternName(Pattern pattern);

}  // namespace kdn::codec
