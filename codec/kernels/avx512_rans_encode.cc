// rANS encoding, compiled for AVX-512 as avx512.cc is, and under the same rule: it calls no inline
// function that another file shares.
//
// 32 lanes are two vectors of states. Nearly all tables are `compact`: everything that a symbol
// stands for is looked up in registers, and the division is a multiplication. The others, whose
// symbols lie far apart or which hold one of the few frequencies that 32 bits do not divide by,
// take a slower way, which divides in double precision.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/avx512_push.h"
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

// Both vectors' low words of the lanes in `full`, in the order of lanes, in front of `first`.
[[gnu::always_inline]] inline void PutWords(__m512i low, __m512i high, __mmask32 full,
                                            std::uint16_t*& first) {
  const __m512i even =
      _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                       24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i words = _mm512_permutex2var_epi16(low, even, high);
  const unsigned taken = static_cast<unsigned>(__builtin_popcount(full));
  first -= taken;
  _mm512_mask_storeu_epi16(first, static_cast<__mmask32>((std::uint64_t{1} << taken) - 1),
                           _mm512_maskz_compress_epi16(full, words));
}

template <bool kNarrow>
std::uint16_t* EncodeCompact(const RansEncodeTable& table, const std::uint8_t* symbols,
                             std::size_t count, std::uint16_t* first, std::uint32_t* states) {
  const CompactRegisters registers = LoadCompact(table);
  __m512i low = Load(states);
  __m512i high = Load(states + 16);
  while (count > 0) {
    count -= kRansLanes;
    __mmask16 full_low = 0;
    __mmask16 full_high = 0;
    const __m512i old_low = low;
    const __m512i old_high = high;
    low = Push<kNarrow, 16>(registers, low, Widen(symbols + count), full_low);
    high = Push<kNarrow, 16>(registers, high, Widen(symbols + count + 16), full_high);
    PutWords(old_low, old_high, _mm512_kunpackw(full_high, full_low), first);
  }
  Store(states, low);
  Store(states + 16, high);
  return first;
}

// Floor of x / f. Exact: both are integers that a double holds, and a quotient that is no integer
// is at least 1/255 away from one, far more than rounding moves it.
[[gnu::always_inline]] inline __m256i Quotient8(__m256i x, __m256i f) {
  return _mm512_cvttpd_epu32(_mm512_div_pd(_mm512_cvtepu32_pd(x), _mm512_cvtepu32_pd(f)));
}

[[gnu::always_inline]] inline __m512i PushByDividing(__m512i x, __m128i frequencies,
                                                     __m128i cumulatives, __mmask16& full) {
  const __m512i frequency = _mm512_cvtepu8_epi32(frequencies);
  full = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(x, 24), frequency);
  x = _mm512_mask_srli_epi32(x, full, x, 16);
  const __m256i low = Quotient8(_mm512_castsi512_si256(x), _mm512_castsi512_si256(frequency));
  const __m256i high =
      Quotient8(_mm512_extracti64x4_epi64(x, 1), _mm512_extracti64x4_epi64(frequency, 1));
  const __m512i quotient = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(static_cast<int>(kRansSlots)), frequency);
  return _mm512_add_epi32(_mm512_add_epi32(x, _mm512_cvtepu8_epi32(cumulatives)),
                          _mm512_mullo_epi32(quotient, rest));
}

std::uint16_t* EncodeAny(const RansEncodeTable& table, const std::uint8_t* symbols,
                         std::size_t count, std::uint16_t* first, std::uint32_t* states) {
  const __m512i index[4] = {Load(table.index_of_symbol), Load(table.index_of_symbol + 64),
                            Load(table.index_of_symbol + 128), Load(table.index_of_symbol + 192)};
  const __m512i frequency = Load(table.frequency);
  const __m512i cumulative = Load(table.cumulative);
  __m512i low = Load(states);
  __m512i high = Load(states + 16);
  while (count > 0) {
    count -= kRansLanes;
    const __m512i s = _mm512_castsi256_si512(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + count)));
    const __m512i below = _mm512_permutex2var_epi8(index[0], s, index[1]);
    const __m512i above = _mm512_permutex2var_epi8(index[2], s, index[3]);
    const __m512i at = _mm512_mask_blend_epi8(_mm512_movepi8_mask(s), below, above);
    const __m512i f = _mm512_permutexvar_epi8(at, frequency);
    const __m512i c = _mm512_permutexvar_epi8(at, cumulative);
    __mmask16 full_low = 0;
    __mmask16 full_high = 0;
    const __m512i old_low = low;
    const __m512i old_high = high;
    low = PushByDividing(low, _mm512_castsi512_si128(f), _mm512_castsi512_si128(c), full_low);
    high = PushByDividing(high, _mm512_extracti32x4_epi32(f, 1), _mm512_extracti32x4_epi32(c, 1),
                          full_high);
    PutWords(old_low, old_high, _mm512_kunpackw(full_high, full_low), first);
  }
  Store(states, low);
  Store(states + 16, high);
  return first;
}

}  // namespace

std::size_t RansEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::uint16_t* words, std::uint32_t* states) {
  // What does not fill all lanes is the decoder's last step and so comes first here.
  const std::size_t full = count / kRansLanes * kRansLanes;
  std::uint16_t* first = words + count;
  first -= RansEncode(table, symbols + full, count - full, first - (count - full), states);
  if (!table.is_compact) {
    first = EncodeAny(table, symbols, full, first, states);
  } else if (table.is_narrow) {
    first = EncodeCompact<true>(table, symbols, full, first, states);
  } else {
    first = EncodeCompact<false>(table, symbols, full, first, states);
  }
  return static_cast<std::size_t>(words + count - first);
}

}  // namespace kdn::codec::avx512
