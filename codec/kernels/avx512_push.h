// What both kinds of rANS encoding for AVX-512 share.
//
// In an unnamed namespace for the reason that value_bits.h gives.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {
namespace {

inline __m512i Load(const void* from) {
  return _mm512_loadu_si512(from);
}
inline void Store(void* to, __m512i v) {
  _mm512_storeu_si512(to, v);
}

struct CompactRegisters {
  __m512i frequency;
  __m512i cumulative;
  __m512i shift;
  __m512i magic[4];
};

inline CompactRegisters LoadCompact(const RansEncodeTable& table) {
  return {
      .frequency = Load(table.compact_frequency),
      .cumulative = Load(table.compact_cumulative),
      .shift = Load(table.shift),
      .magic = {Load(table.magic), Load(table.magic + 16), Load(table.magic + 32),
                Load(table.magic + 48)},
  };
}

// Puts one symbol on each of 16 lanes. Those that are `full` give up a word of so many bits before;
// with words of no bits they should not have been given one. Every byte of `symbols` but the lowest
// of each lane is 0.
template <bool kNarrow, unsigned kWordBits>
[[gnu::always_inline]] inline __m512i Push(const CompactRegisters& table, __m512i x,
                                           __m512i symbols, __mmask16& full) {
  constexpr __mmask64 kLowest = 0x1111111111111111;
  const __m512i frequency = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.frequency);
  const __m512i cumulative = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.cumulative);
  const __m512i shift = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.shift);
  __m512i magic = _mm512_permutex2var_epi32(table.magic[0], symbols, table.magic[1]);
  if constexpr (!kNarrow) {
    const __mmask16 above = _mm512_test_epi32_mask(symbols, _mm512_set1_epi32(32));
    magic = _mm512_mask_mov_epi32(
        magic, above, _mm512_permutex2var_epi32(table.magic[2], symbols, table.magic[3]));
  }
  constexpr unsigned kStateBits = kWordBits == 8 ? 24 : 32;
  full = _mm512_cmpge_epu32_mask(x, _mm512_slli_epi32(frequency, kStateBits - kRansProbBits));
  x = _mm512_mask_srli_epi32(x, full, x, kWordBits);
  const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, magic), 31);
  const __m512i odd = _mm512_slli_epi64(
      _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(magic, 32)), 1);
  __m512i quotient = _mm512_srlv_epi32(_mm512_mask_mov_epi32(even, 0xAAAA, odd), shift);
  if constexpr (kWordBits == 0) {
    // Of any table: where 32 bits are not enough to divide by, it is one too many at most.
    const __mmask16 over = _mm512_cmpgt_epu32_mask(_mm512_mullo_epi32(quotient, frequency), x);
    quotient = _mm512_mask_sub_epi32(quotient, over, quotient, _mm512_set1_epi32(1));
  }
  const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(static_cast<int>(kRansSlots)), frequency);
  return _mm512_add_epi32(_mm512_add_epi32(x, cumulative), _mm512_mullo_epi32(quotient, rest));
}

inline __m512i Widen(const std::uint8_t* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

}  // namespace
}  // namespace kdn::codec::avx512
