// What scheme kResidual says about the words of each type: their order, and how many of a
// difference's bits are raw.
//
// In an unnamed namespace for the reason that value_bits.h gives. A .cu file may include this
// header, so it stays within C++17. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/float_bits.h"

namespace kdn::codec {
namespace {

// Symbols -31 to 31 are differences, shifted; the one below them says that the word itself follows.
constexpr int kResidualMax = 31;
constexpr std::uint8_t kResidualZero = 32;
constexpr std::uint8_t kResidualEscape = 0;
// A channel's spread is worth about this many bits of symbol.
constexpr int kResidualBits = 3;

template <class FloatNumber, unsigned kMantissa, unsigned kExponent>
struct Words {
  using Number = FloatNumber;
  using Word = typename Number::Word;
  static constexpr unsigned kBits = 8 * sizeof(Word);
  static constexpr unsigned kMantissaBits = kMantissa;
  static constexpr Word kSign = static_cast<Word>(Word{1} << (kBits - 1));
  static constexpr Word kAll = static_cast<Word>(~Word{0});
  static constexpr Word kExponentMax = static_cast<Word>((Word{1} << kExponent) - 1);
  // The shift of a prediction with exponent field 0: spread + kShiftBase.
  static constexpr int kShiftBase =
      (1 << (kExponent - 1)) - 1 + static_cast<int>(kMantissa) - kResidualBits;

  // The word's number in the order of values; the two zeros are neighbours.
  KDN_HOST_DEVICE static Word Order(Word w) {
    return static_cast<Word>((w & kSign) != 0 ? ~w : w | kSign);
  }
  KDN_HOST_DEVICE static Word Unorder(Word n) {
    return static_cast<Word>((n & kSign) != 0 ? n ^ kSign : ~n);
  }
  // Exponent of the unit in the last place, as a power of two.
  KDN_HOST_DEVICE static int UnitExponent(Word w) {
    constexpr int kBias = (1 << (kExponent - 1)) - 1;
    const int exponent = static_cast<int>((w >> kMantissa) & ((Word{1} << kExponent) - 1));
    return (exponent > 1 ? exponent : 1) - kBias - static_cast<int>(kMantissa);
  }
  // Raw bits below the symbol.
  KDN_HOST_DEVICE static unsigned ShiftOf(Word predicted, int spread) {
    const int shift = spread - UnitExponent(predicted) - kResidualBits;
    const int bounded = shift < static_cast<int>(kMantissa) ? shift : static_cast<int>(kMantissa);
    return bounded > 0 ? static_cast<unsigned>(bounded) : 0U;
  }
  KDN_HOST_DEVICE static float ToFloat(Word w) { return Number::ToFloat(w); }
};

using Bf16Words = Words<Bf16Number, 7, 8>;
using Fp16Words = Words<Fp16Number, 10, 5>;
using Fp32Words = Words<Fp32Number, 23, 8>;
using Fp8E4M3Words = Words<Fp8E4M3Number, 3, 4>;
using Fp8E5M2Words = Words<Fp8E5M2Number, 2, 5>;

template <class Word>
Word LoadWord(const std::byte* from, std::size_t i) {
  Word word;
  __builtin_memcpy(&word, from + i * sizeof(Word), sizeof(Word));
  return word;
}

}  // namespace
}  // namespace kdn::codec
