// Encoding in plain C++: what the other tables must equal, and what they fall back to.
//
// In an unnamed namespace for the reason that value_bits.h gives. Calls the mathematical library's
// functions by their C names, as those are no inline functions. Thread-safety: pure functions.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/residual_words.h"

namespace kdn::codec {
namespace {

constexpr std::size_t kAnalysedChannelsMax = 1024;

template <class Number>
void ReadOneByOne(const Reading& reading, const std::byte* values, std::ptrdiff_t value_stride,
                  const float* turns, std::size_t tokens, float* out) {
  const std::size_t half = reading.rotary_dims / 2;
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t c = 0; c < reading.channels; ++c) {
      const float x = Number::ToFloat(LoadWord<typename Number::Word>(values, c));
      out[c] = x >= -kFiniteMax && x <= kFiniteMax ? x : 0.0F;
    }
    for (std::size_t i = 0; i < half && reading.pairs != RotaryPairs::kNone; ++i) {
      const bool halves = reading.pairs == RotaryPairs::kHalves;
      float& a = out[halves ? i : 2 * i];
      float& b = out[halves ? i + half : 2 * i + 1];
      const float x = a;
      const float y = b;
      a = x * turns[i] + y * turns[half + i];
      b = y * turns[i] - x * turns[half + i];
    }
    values += value_stride;
    turns += reading.rotary_dims;
    out += reading.channels;
  }
}

inline float RoundToBf16Value(float x) {
  return Bf16Number::ToFloat(Bf16Number::FromFloat(x));
}

inline float ScaleOf(double squares, std::size_t tokens) {
  const auto deviation = static_cast<float>(sqrt(squares / static_cast<double>(tokens)));
  const float scale = deviation / kBinsPerDeviation / 8.0F;
  return RoundToBf16Value(scale > 1e-30F ? scale : 1e-30F);
}

// One channel, whose values lie `channels` apart.
[[maybe_unused]] void MeasureChannel(const float* values, std::size_t tokens, std::size_t channels,
                                     float* mean, float* scale) {
  double sum = 0.0;
  double squares = 0.0;
  for (std::size_t t = 0; t < tokens; ++t) sum += double{values[t * channels]};
  *mean = RoundToBf16Value(static_cast<float>(sum / static_cast<double>(tokens)));
  for (std::size_t t = 0; t < tokens; ++t) {
    const double off = double{values[t * channels]} - double{*mean};
    squares += off * off;
  }
  *scale = ScaleOf(squares, tokens);
}

// MeasureChannel() of all channels, row by row: each one's sums grow as there, and they grow side
// by side.
[[maybe_unused]] void MeasureOneByOne(const float* values, std::size_t tokens, std::size_t channels,
                                      float* mean, float* scale) {
  double sums[kAnalysedChannelsMax];
  for (std::size_t c = 0; c < channels; ++c) sums[c] = 0.0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* row = values + t * channels;
    for (std::size_t c = 0; c < channels; ++c) sums[c] += double{row[c]};
  }
  for (std::size_t c = 0; c < channels; ++c) {
    mean[c] = RoundToBf16Value(static_cast<float>(sums[c] / static_cast<double>(tokens)));
    sums[c] = 0.0;
  }
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* row = values + t * channels;
    for (std::size_t c = 0; c < channels; ++c) {
      const double off = double{row[c]} - double{mean[c]};
      sums[c] += off * off;
    }
  }
  for (std::size_t c = 0; c < channels; ++c) scale[c] = ScaleOf(sums[c], tokens);
}

// Floor of a number whose integer part an int holds.
inline int FloorOf(float x) {
  const int whole = static_cast<int>(x);
  return static_cast<float>(whole) > x ? whole - 1 : whole;
}

inline int OwnBin(float value, float mean, float scale) {
  const float at = (value - mean) / scale / 8.0F + 0.5F;
  if (!(at >= -static_cast<float>(kOwnBinMax))) return -kOwnBinMax;
  return at < static_cast<float>(kOwnBinMax) ? FloorOf(at) : kOwnBinMax;
}

[[maybe_unused]] void CountBinsOneByOne(const float* values, std::size_t tokens,
                                        std::size_t channels, const float* mean, const float* scale,
                                        std::uint32_t* counts) {
  for (std::size_t t = 0; t < tokens; ++t, values += channels) {
    for (std::size_t c = 0; c < channels; ++c) {
      ++counts[OwnBin(values[c], mean[c], scale[c]) + kOwnBinMax];
    }
  }
}

// One token's components, in coding order.
[[maybe_unused]] void AnalyseRow(const Analysis& a, const float* values, float* components) {
  float centred[kAnalysedChannelsMax];
  for (std::size_t c = 0; c < a.channels; ++c) centred[c] = values[c] - a.mean[c];
  float sums[kAnalysedChannelsMax];
  if (a.block == 1) {
    for (std::size_t k = 0; k < a.channels; ++k) sums[k] = a.inverse[k] * centred[k];
  } else {
    // Column by column: each sum grows in the order of the channels, and they grow side by side.
    for (std::size_t k = 0; k < a.channels; ++k) sums[k] = 0.0F;
    for (std::size_t i = 0; i < a.channels; ++i) {
      const float* column = a.columns + i * a.block;
      float* sum = sums + i / a.block * a.block;
      for (std::size_t k = 0; k < a.block; ++k) sum[k] += column[k] * centred[i];
    }
  }
  for (std::size_t k = 0; k < a.channels; ++k) {
    components[a.order == nullptr ? k : a.order[k]] = sums[k];
  }
}

// By how many powers of two a token goes beyond what its classes can say.
[[maybe_unused]] unsigned ExponentOf(const Analysis& a, const float* components) {
  // Mostly none does, which comparing tells.
  int outside = 0;
  const float* component = components;
  for (std::size_t i = 0; i < a.class_count; component += a.classes[i++].width) {
    const ClassQuantiser& one = a.classes[i];
    if (!one.coded) continue;
    for (std::size_t k = 0; k < one.width; ++k) outside |= fabsf(component[k]) > one.clip ? 1 : 0;
  }
  if (outside == 0) return 0;
  float largest = 0.0F;
  for (std::size_t i = 0; i < a.class_count; components += a.classes[i++].width) {
    const ClassQuantiser& one = a.classes[i];
    for (std::size_t k = 0; one.coded && k < one.width; ++k) {
      const float share = fabsf(components[k]) / one.clip;
      if (share > largest) largest = share;
    }
  }
  unsigned exponent = 0;
  for (; largest > 1.0F && exponent < kExponentMax; ++exponent) largest *= 0.5F;
  return exponent;
}

// The fine bin of a component, 2 code units wide, those of the middle symbol being 0 and up; what
// is no number is clipped as if it were far below. The division by the bin's width and the product
// with the number of its parts are one by 2, as both are powers of two.
inline int FineBin(const ClassQuantiser& one, float component) {
  const int parts = 1 << one.planes;
  const int low = (one.first_symbol - kMiddleSymbol) * parts;
  const int high = (one.last_symbol - kMiddleSymbol) * parts + parts - 1;
  float at = component * 0.5F + 0.5F * static_cast<float>(parts);
  at = at >= static_cast<float>(low) ? at : static_cast<float>(low);
  at = at < static_cast<float>(high) ? at : static_cast<float>(high);
  return FloorOf(at);
}

// Token t's bins to symbols, bits and codes of one class.
inline void PutBins(const ClassQuantiser& one, std::size_t t, std::size_t k, int bin,
                    std::int8_t* code) {
  const int rest = bin & ((1 << one.planes) - 1);
  const int symbol = (bin >> one.planes) + kMiddleSymbol;
  one.symbols[t * one.width + k] = static_cast<std::uint8_t>(symbol);
  one.rest[t * one.width + k] = static_cast<std::uint8_t>(rest);
  *code = static_cast<std::int8_t>(static_cast<std::uint8_t>(one.codes[symbol] + 2 * rest));
}

[[maybe_unused]] void QuantiseOneByOne(const Analysis& a, const float* values, std::size_t tokens,
                                       std::uint8_t* exponents, std::int8_t* codes) {
  float components[kAnalysedChannelsMax];
  for (std::size_t t = 0; t < tokens; ++t, values += a.channels) {
    AnalyseRow(a, values, components);
    const unsigned exponent = ExponentOf(a, components);
    exponents[t] = static_cast<std::uint8_t>(exponent);
    const float shrink = 1.0F / static_cast<float>(1U << exponent);
    const float* component = components;
    for (std::size_t i = 0; i < a.class_count; ++i) {
      const ClassQuantiser& one = a.classes[i];
      if (one.coded) {
        // A loop that can be made of vectors, and one that cannot.
        int bins[kAnalysedChannelsMax];
        for (std::size_t k = 0; k < one.width; ++k) bins[k] = FineBin(one, component[k] * shrink);
        for (std::size_t k = 0; k < one.width; ++k) PutBins(one, t, k, bins[k], codes + k);
      } else {
        for (std::size_t k = 0; k < one.width; ++k) codes[k] = 0;
      }
      component += one.width;
      codes += one.width;
    }
  }
}

[[maybe_unused]] void PackPlaneOneByOne(const std::uint8_t* rest, std::size_t count, unsigned bit,
                                        std::byte* out) {
  for (std::size_t i = 0; i < count; i += 8) {
    unsigned packed = 0;
    for (unsigned k = 0; k < 8; ++k) packed |= ((rest[i + k] >> bit) & 1U) << k;
    *out++ = static_cast<std::byte>(packed);
  }
}

[[maybe_unused]] void CountSymbolsOneByOne(const std::uint8_t* symbols, std::size_t count,
                                           std::uint32_t* counts) {
  // Four counters in turn: runs of one symbol would otherwise wait for their own store.
  std::uint32_t part[4][64] = {};
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++part[k][symbols[i + k]];
  }
  for (; i < count; ++i) ++part[0][symbols[i]];
  for (std::size_t s = 0; s < 64; ++s) {
    counts[s] += part[0][s] + part[1][s] + part[2][s] + part[3][s];
  }
}

[[maybe_unused]] void LeanEncodeOneByOne(const RansEncodeTable& table, LeanPiece* two) {
  for (LeanPiece* piece = two; piece != two + 2; ++piece) {
    piece->bytes = LeanEncode(table, piece->symbols, piece->count, piece->out, &piece->tail);
  }
}

template <class W>
std::int8_t SpreadOf(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                     std::size_t channels, std::size_t channel) {
  using Word = typename W::Word;
  double squares = 0.0;
  std::size_t count = 0;
  for (std::size_t i = channel; i < tokens * channels; i += channels) {
    const double off = double{W::ToFloat(LoadWord<Word>(actual, i))} -
                       double{W::ToFloat(LoadWord<Word>(predicted, i))};
    if (!(fabs(off) < 1e30)) continue;
    squares += off * off;
    ++count;
  }
  if (count == 0 || squares == 0.0) return -128;
  const long spread = lround(log2(sqrt(squares / static_cast<double>(count))));
  return static_cast<std::int8_t>(spread < -127 ? -127 : spread > 127 ? 127 : spread);
}

template <class W>
void SpreadsOneByOne(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                     std::size_t channels, std::int8_t* spreads) {
  for (std::size_t c = 0; c < channels; ++c) {
    spreads[c] = SpreadOf<W>(predicted, actual, tokens, channels, c);
  }
}

// Bits one after the other, the first in the lowest of a byte.
class RawBits {
 public:
  explicit RawBits(std::byte* out) : first_(out), next_(out) {}
  static constexpr unsigned kMost = 56;  // bits at once
  // Below 2^count, at most kMost of them. Writes 8 bytes.
  void Put(std::uint64_t bits, unsigned count) {
    waiting_ |= bits << held_;
    __builtin_memcpy(next_, &waiting_, sizeof(waiting_));
    held_ += count;
    next_ += held_ / 8;
    waiting_ >>= held_ & ~7U;
    held_ %= 8;
  }
  // Bytes in all; bits left over in the last one are 0.
  std::size_t Finish() {
    __builtin_memcpy(next_, &waiting_, sizeof(waiting_));
    return static_cast<std::size_t>(next_ - first_) + (held_ + 7) / 8;
  }

 private:
  std::byte* first_;
  std::byte* next_;
  std::uint64_t waiting_ = 0;
  unsigned held_ = 0;  // below 8
};

// One value: its symbol, and its low bits or itself.
template <class W>
std::uint8_t PutResidual(typename W::Word predicted, typename W::Word actual, int spread,
                         RawBits& bits, std::byte*& escape) {
  const unsigned shift = W::ShiftOf(predicted, spread);
  const std::int64_t difference =
      static_cast<std::int64_t>(W::Order(actual)) - static_cast<std::int64_t>(W::Order(predicted));
  const std::int64_t symbol = difference >> shift;
  if (symbol < -kResidualMax || symbol > kResidualMax) {
    __builtin_memcpy(escape, &actual, sizeof(actual));
    escape += sizeof(actual);
    return kResidualEscape;
  }
  bits.Put(static_cast<std::uint64_t>(difference) & ((std::uint64_t{1} << shift) - 1), shift);
  return static_cast<std::uint8_t>(symbol + kResidualZero);
}

template <class W>
void ResidualOneByOne(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                      std::size_t channels, const std::int8_t* spreads, ResidualOut& out) {
  using Word = typename W::Word;
  RawBits bits(out.bits);
  std::byte* escape = out.escapes;
  for (std::size_t i = 0; i < tokens * channels; ++i) {
    out.symbols[i] = PutResidual<W>(LoadWord<Word>(predicted, i), LoadWord<Word>(actual, i),
                                    spreads[i % channels], bits, escape);
  }
  out.bits_bytes = bits.Finish();
  out.escapes_bytes = static_cast<std::size_t>(escape - out.escapes);
}

}  // namespace
}  // namespace kdn::codec
