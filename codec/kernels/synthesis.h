// From codes to values in plain C++: what the other kernel tables must equal, and what they fall
// back to.
//
// In an unnamed namespace for the reason that value_bits.h gives. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codec/kernels/float_bits.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec {
namespace {

constexpr std::size_t kChannelsMax = 1024;

// Codes first .. first + count - 1 of a class, counted over its tokens.
[[maybe_unused]] void CodesOneByOne(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                                    std::size_t stride) {
  std::size_t i = 0;
  for (std::size_t t = 0; t < tokens; ++t, out += stride) {
    for (std::size_t k = 0; k < codes.width; ++k, ++i) {
      unsigned code = static_cast<std::uint8_t>(codes.lut[codes.symbols[i] & 63]);
      for (std::size_t p = 0; p < codes.planes; ++p) {
        const unsigned byte = static_cast<unsigned>(codes.plane[p][i / 8]);
        code += ((byte >> (i % 8)) & 1U) << (codes.plane_shift - p);
      }
      out[k] = static_cast<std::int8_t>(code);
    }
  }
}

// Sums of matrix rows and codes, or the ordered codes themselves.
[[maybe_unused]] inline void SumRow(const Synthesis& s, const std::int8_t* codes,
                                    std::int32_t* sums) {
  std::int8_t ordered[kChannelsMax];
  const std::int8_t* row = codes;
  if (s.order != nullptr) {
    for (std::size_t k = 0; k < s.channels; ++k) ordered[k] = codes[s.order[k]];
    row = ordered;
  }
  for (std::size_t c = 0; c < s.channels; ++c) {
    if (s.block == 1) {
      sums[c] = row[c];
      continue;
    }
    const std::int8_t* numbers = s.matrix + c * s.block;
    const std::int8_t* part = row + c / s.block * s.block;
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < s.block; ++k) sum += std::int32_t{numbers[k]} * part[k];
    sums[c] = sum;
  }
}

inline void TurnPair(float& a, float& b, float cosine, float sine) {
  const float x = a;
  const float y = b;
  a = x * cosine - y * sine;
  b = y * cosine + x * sine;
}

inline void TurnRow(RotaryPairs pairs, std::size_t dims, const float* turns, float* x) {
  const std::size_t half = dims / 2;
  for (std::size_t i = 0; i < half; ++i) {
    if (pairs == RotaryPairs::kHalves) TurnPair(x[i], x[i + half], turns[i], turns[half + i]);
    if (pairs == RotaryPairs::kNeighbours) {
      TurnPair(x[2 * i], x[2 * i + 1], turns[i], turns[half + i]);
    }
  }
}

template <class Number>
void SynthesiseOneByOne(const Synthesis& s, const CodeRows& in, std::byte* values,
                        const std::ptrdiff_t* rows) {
  std::int32_t sums[kChannelsMax];
  float x[kChannelsMax];
  for (std::size_t t = 0; t < in.tokens; ++t) {
    SumRow(s, in.codes + t * in.stride, sums);
    const unsigned exponent = in.exponents == nullptr ? 0U : in.exponents[t] & 31U;
    const auto power = static_cast<float>(1U << exponent);
    for (std::size_t c = 0; c < s.channels; ++c) {
      x[c] = s.mean[c] + (s.scale[c] * power) * static_cast<float>(sums[c]);
    }
    if (s.pairs != RotaryPairs::kNone) {
      TurnRow(s.pairs, s.rotary_dims, in.turns + t * s.rotary_dims, x);
    }
    for (std::size_t c = 0; c < s.channels; ++c) {
      const typename Number::Word word = Number::FromFloat(x[c]);
      std::memcpy(values + rows[t] + c * sizeof(word), &word, sizeof(word));
    }
  }
}

[[maybe_unused]] void NothingToFence() {}

}  // namespace
}  // namespace kdn::codec
