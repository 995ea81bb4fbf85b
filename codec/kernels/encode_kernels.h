// The inner loops of encoding lossy levels, and exact on top of them: one table of functions per
// instruction set, under the contract of kernels.h: same input, same output, bit for bit, so that
// an object does not depend on the machine that stored it. The scalar table is the specification.
//
// A strip's values are rows of `channels` floats, [token][channel].
//
// Thread-safety: kernels are pure functions of their arguments; none allocates. Defines no
// functions, for the reason that kernels.h gives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec {

// Words of a type to floats that are free of their position.
struct Reading {
  std::size_t channels = 0;
  RotaryPairs pairs = RotaryPairs::kNone;
  std::size_t rotary_dims = 0;
};

// What is larger counts as zero, and so does what is no number: a decoder needs room for its
// products, and exact brings it back.
inline constexpr float kFiniteMax = 1e17F;

// Of the specification of what follows: a token's exponent, the symbol whose bin is around zero,
// and the draft bins to either side that a tile without a profile has.
inline constexpr unsigned kExponentMax = 15;
inline constexpr int kMiddleSymbol = 32;
inline constexpr int kOwnBinMax = 7;
// Without a profile draft's bins are 0.625 of a channel's deviation: with wider ones fine cost a
// model's text more than it may (docs/benchmarks.md).
inline constexpr float kBinsPerDeviation = 1.6F;

// How the components of one class become symbols and the bits below them.
struct ClassQuantiser {
  std::size_t width = 0;  // a multiple of 16
  bool coded = false;     // else its codes are 0 and the rest of this is not looked at
  unsigned planes = 0;    // bits below a symbol, at the finest level
  int first_symbol = 0;   // what is further out is clipped
  int last_symbol = 0;    // below 64
  float clip = 0.0F;      // a token with a component beyond this is coded coarser as a whole
  const std::int8_t* codes = nullptr;  // of each of 64 symbols at the finest level
  std::uint8_t* symbols = nullptr;     // out: [token][width]
  std::uint8_t* rest = nullptr;        // out: the bits below each symbol
};

// From values to components, component k of block b being the sum over i of inverse[b · block +
// k][i] · (value - mean)[b · block + i], added up in that order in float; and from those to codes.
struct Analysis {
  std::size_t channels = 0;        // a multiple of 16, at most 1024
  std::size_t block = 1;           // 1: one number a channel
  const float* inverse = nullptr;  // of block 1: one number a channel
  // Of larger blocks: column by column, columns[(b · block + i) · block + k].
  const float* columns = nullptr;
  const float* mean = nullptr;
  const std::uint16_t* order = nullptr;  // component k is coded as number order[k]; null: k
  const ClassQuantiser* classes = nullptr;
  std::size_t class_count = 0;
};

// What of a strip exact adds to fine.
struct ResidualOut {
  std::uint8_t* symbols = nullptr;  // one a value
  // The values' low bits, one after the other; has room for 8 bytes more than all of them.
  std::byte* bits = nullptr;
  std::size_t bits_bytes = 0;     // out
  std::byte* escapes = nullptr;   // has room for all values
  std::size_t escapes_bytes = 0;  // out
};

// One lean block, as Kernels::lean_encode has it.
struct LeanPiece {
  const std::uint8_t* symbols = nullptr;
  std::size_t count = 0;
  std::byte* out = nullptr;
  std::size_t bytes = 0;  // out, and so is the next
  std::uint8_t tail = 0;
};

struct EncodeKernels {
  // Row t: values + t · value_stride bytes, turns + t · rotary_dims (cosines, then sines of the
  // pairs; unread without pairs), out + t · channels.
  void (*read[kKernelDTypes])(const Reading& reading, const std::byte* values,
                              std::ptrdiff_t value_stride, const float* turns, std::size_t tokens,
                              float* out);

  // Each channel's mean, rounded to bf16, and an eighth of its deviation from that, likewise, at
  // least 1e-30.
  void (*measure)(const float* values, std::size_t tokens, std::size_t channels, float* mean,
                  float* scale);

  // Counts the draft bins of values with those scales, floor((value - mean) / scale / 8 + 1/2) in
  // float, clamped to -7..7: adds to counts[bin + 7].
  void (*count_bins)(const float* values, std::size_t tokens, std::size_t channels,
                     const float* mean, const float* scale, std::uint32_t* counts);

  // Fills the classes' symbols and rest, each token's exponent, and its codes, [token][number in
  // coding order].
  void (*quantise)(const Analysis& analysis, const float* values, std::size_t tokens,
                   std::uint8_t* exponents, std::int8_t* codes);

  // Bit `bit` of each of `count` bytes, the first in the lowest of a byte. `count` is a multiple of
  // 8.
  void (*pack_plane)(const std::uint8_t* rest, std::size_t count, unsigned bit, std::byte* out);

  // Adds the counts of symbols below 64.
  void (*count_symbols)(const std::uint8_t* symbols, std::size_t count, std::uint32_t* counts);

  // How far each channel's values are off: the exponent of the root of their mean square, -128 if
  // they are not. Differences that are not below 1e30 do not count.
  void (*spreads[kKernelDTypes])(const std::byte* predicted, const std::byte* actual,
                                 std::size_t tokens, std::size_t channels, std::int8_t* spreads);

  // Codes two blocks that share a table, each as Kernels::lean_encode does: the steps of one fill
  // the time that those of the other wait.
  void (*lean_encode_two)(const RansEncodeTable& table, LeanPiece* two);

  // docs/codec.md, "Exact on top of fine".
  void (*residual[kKernelDTypes])(const std::byte* predicted, const std::byte* actual,
                                  std::size_t tokens, std::size_t channels,
                                  const std::int8_t* spreads, ResidualOut& out);
};

extern const EncodeKernels kScalarEncode;
extern const EncodeKernels kAvx2Encode;  // Built on x86-64 only, as is the next.
extern const EncodeKernels kAvx512Encode;

}  // namespace kdn::codec
