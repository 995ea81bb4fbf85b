// What the decoder of kResidual does for each value, in plain C++: kernels fall back to it.
//
// In an unnamed namespace for the reason that value_bits.h gives. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codec/kernels/kernels.h"
#include "codec/kernels/residual_words.h"

namespace kdn::codec {
namespace {

// Where a corrector stands.
struct CorrectionCursor {
  std::size_t done;     // values
  std::size_t bit;      // the first that was not taken
  std::size_t escapes;  // bytes taken; may be more than there are
};

// The next `count` bits, at most 23; zeros past the end.
[[maybe_unused]] inline std::uint32_t BitsAt(const Correction& c, std::size_t bit, unsigned count) {
  std::uint32_t bits = 0;
  for (std::size_t k = 0; k < 4 && bit / 8 + k < c.bits_bytes; ++k) {
    bits |= static_cast<std::uint32_t>(c.bits[bit / 8 + k]) << (8 * k);
  }
  return (bits >> (bit % 8)) & ((1U << count) - 1);
}

// Corrects the rest from where `at` stands, and judges whether all was used and no more.
template <class W>
bool CorrectFrom(const Correction& c, CorrectionCursor at, std::byte* values) {
  using Word = typename W::Word;
  for (std::size_t i = at.done; i < c.channels * c.tokens; ++i) {
    std::byte* value = values + i * sizeof(Word);
    Word p;
    std::memcpy(&p, value, sizeof(p));
    Word a = 0;
    if (c.symbols[i] == kResidualEscape) {
      if (at.escapes + sizeof(Word) <= c.escapes_bytes) {
        std::memcpy(&a, c.escapes + at.escapes, sizeof(a));
      }
      at.escapes += sizeof(Word);
    } else {
      const unsigned shift = W::ShiftOf(p, c.spreads[i % c.channels]);
      const auto symbol = static_cast<std::uint32_t>(int{c.symbols[i]} - kResidualZero);
      const std::uint32_t low = BitsAt(c, at.bit, shift);
      a = W::Unorder(static_cast<Word>(W::Order(p) + (symbol << shift) + low));
      at.bit += shift;
    }
    std::memcpy(value, &a, sizeof(a));
  }
  if ((at.bit + 7) / 8 != c.bits_bytes || at.escapes != c.escapes_bytes) return false;
  return at.bit % 8 == 0 || (static_cast<unsigned>(c.bits[at.bit / 8]) >> (at.bit % 8)) == 0;
}

template <class W>
bool CorrectOneByOne(const Correction& c, std::byte* values) {
  return CorrectFrom<W>(c, {0, 0, 0}, values);
}

[[maybe_unused]] void StreamRowsOneByOne(const std::byte* rows, std::size_t row_bytes,
                                         std::size_t count, std::byte* to,
                                         const std::ptrdiff_t* at) {
  for (std::size_t r = 0; r < count; ++r) std::memcpy(to + at[r], rows + r * row_bytes, row_bytes);
}

}  // namespace
}  // namespace kdn::codec
