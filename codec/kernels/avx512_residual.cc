// What exact adds to fine, bf16, compiled for AVX-512 as avx512.cc is (and for BMI2), and under the
// same rule: it calls no inline function that another file shares.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

// 16 words as they are.
__m512 WidenSixteen(const std::byte* words) {
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16));
}

// The exponent of the root of sum / count, if float sums are enough to tell; else false. Half of
// log2 is rounded to nearest, so the mean decides at odd powers of two; far from those the errors
// of some thousand additions in float do not matter.
bool SpreadOfSum(float sum, std::size_t count, std::int8_t* spread) {
  constexpr double kDoubt = 1e-3;
  if (!(sum > 1e-30F && sum < 1e30F)) return false;
  const double mean = static_cast<double>(sum) / static_cast<double>(count);
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &mean, sizeof(bits));
  const int exponent = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & ((std::uint64_t{1} << 52) - 1)) | (std::uint64_t{1023} << 52);
  double mantissa = 0.0;
  __builtin_memcpy(&mantissa, &bits, sizeof(bits));
  const bool odd = (exponent & 1) != 0;
  if (odd ? mantissa < 1.0 + kDoubt : mantissa > 2.0 - 2.0 * kDoubt) return false;
  *spread = static_cast<std::int8_t>((odd ? exponent + 1 : exponent) / 2);
  return true;
}

template <int kVectors>
void SumSquares(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                std::size_t channels, float* squares) {
  __m512 sums[kVectors];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (std::size_t t = 0; t < tokens; ++t, predicted += 2 * channels, actual += 2 * channels) {
    for (int v = 0; v < kVectors; ++v) {
      const __m512 off =
          _mm512_sub_ps(WidenSixteen(actual + 32 * v), WidenSixteen(predicted + 32 * v));
      sums[v] = _mm512_fmadd_ps(off, off, sums[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(squares + 16 * v, sums[v]);
}

// The order of words as signed numbers: of negative ones the bits below the sign are turned round.
[[gnu::always_inline]] inline __m512i Order(__m512i words) {
  return _mm512_mask_sub_epi16(words, _mm512_movepi16_mask(words), _mm512_set1_epi16(0x7FFF),
                               words);
}

// 32 values, each in 16 bits.
struct Coded {
  __m512i symbols;
  __m512i rest;
  __m512i mask;  // of the rest's bits that count; none of what escapes
  __mmask32 escapes;
};
[[gnu::always_inline]] inline Coded Code(const std::byte* predicted, const std::byte* actual,
                                         const std::int16_t* bases) {
  const __m512i p = _mm512_loadu_si512(predicted);
  const __m512i a = _mm512_loadu_si512(actual);
  const __m512i exponent = _mm512_and_si512(_mm512_srli_epi16(p, 7), _mm512_set1_epi16(0xFF));
  const __m512i unit = _mm512_max_epi16(exponent, _mm512_set1_epi16(1));
  const __m512i shift = _mm512_min_epu16(_mm512_subs_epu16(_mm512_loadu_si512(bases), unit),
                                         _mm512_set1_epi16(Bf16Words::kMantissaBits));
  // What saturates is an escape in any case.
  const __m512i off = _mm512_subs_epi16(Order(a), Order(p));
  const __m512i above_least =
      _mm512_add_epi16(_mm512_srav_epi16(off, shift), _mm512_set1_epi16(kResidualMax));
  const __mmask32 inside =
      _mm512_cmplt_epu16_mask(above_least, _mm512_set1_epi16(2 * kResidualMax + 1));
  constexpr short kLeast = kResidualZero - kResidualMax;
  // As many ones as the shift, which is in the lower byte; the upper one looks up 0.
  const __m512i ones = _mm512_set4_epi32(0, 0, 0x7F3F1F0F, 0x07030100);
  const __m512i mask = _mm512_shuffle_epi8(ones, shift);
  return {.symbols = _mm512_maskz_add_epi16(inside, above_least, _mm512_set1_epi16(kLeast)),
          .rest = off,
          .mask = _mm512_maskz_mov_epi16(inside, mask),
          .escapes = ~inside};
}
// The lower bytes of as many numbers of 16 bits.
[[gnu::always_inline]] inline __m512i Narrow(__m512i low, __m512i high) {
  alignas(64) static constexpr std::uint8_t kEven[64] = {
      0,  2,  4,   6,   8,   10,  12,  14,  16,  18,  20,  22,  24,  26,  28,  30,
      32, 34, 36,  38,  40,  42,  44,  46,  48,  50,  52,  54,  56,  58,  60,  62,
      64, 66, 68,  70,  72,  74,  76,  78,  80,  82,  84,  86,  88,  90,  92,  94,
      96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126};
  return _mm512_permutex2var_epi8(low, _mm512_load_si512(kEven), high);
}

// Writes 32 words, of which those that escape count: there is room for all that were read so far.
[[gnu::always_inline]] inline void PutEscapes(__mmask32 escapes, const std::byte* actual,
                                              std::byte*& escape) {
  _mm512_storeu_si512(escape, _mm512_maskz_compress_epi16(escapes, _mm512_loadu_si512(actual)));
  escape += 2 * __builtin_popcount(escapes);
}

// The bits of 32 values that count. Mostly they are few, and put together before they are written.
[[gnu::always_inline]] inline void PutRest(const std::uint64_t* rest, const std::uint64_t* mask,
                                           RawBits& bits) {
  std::uint64_t part[4];
  unsigned width[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    part[k] = _pext_u64(rest[k], mask[k]);
    width[k] = static_cast<unsigned>(__builtin_popcountll(mask[k]));
  }
  const unsigned front = width[0] + width[1];
  const unsigned back = width[2] + width[3];
  if (front + back <= RawBits::kMost) {
    const std::uint64_t low = part[0] | part[1] << width[0];
    const std::uint64_t high = part[2] | part[3] << width[2];
    return bits.Put(low | high << front, front + back);
  }
  for (int k = 0; k < 4; ++k) bits.Put(part[k], width[k]);
}

}  // namespace

void SpreadsBf16(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                 std::size_t channels, std::int8_t* spreads) {
  float squares[kAnalysedChannelsMax];
  std::size_t c = 0;
  for (; c + 64 <= channels; c += 64) {
    SumSquares<4>(predicted + 2 * c, actual + 2 * c, tokens, channels, squares + c);
  }
  for (; c < channels; c += 16) {
    SumSquares<1>(predicted + 2 * c, actual + 2 * c, tokens, channels, squares + c);
  }
  for (c = 0; c < channels; ++c) {
    if (SpreadOfSum(squares[c], tokens, spreads + c)) continue;
    spreads[c] = SpreadOf<Bf16Words>(predicted, actual, tokens, channels, c);
  }
}

void ResidualBf16(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                  std::size_t channels, const std::int8_t* spreads, ResidualOut& out) {
  // A word's shift is its channel's number here less its exponent, at least 1, or none; 64 more, so
  // that vectors may begin anywhere in a row.
  alignas(64) std::int16_t bases[kAnalysedChannelsMax + 64];
  for (std::size_t c = 0; c < channels + 64; ++c) {
    const int base = spreads[c % channels] - Bf16Words::UnitExponent(0) + 1 - kResidualBits;
    bases[c] = static_cast<std::int16_t>(base > 0 ? base : 0);
  }
  RawBits bits(out.bits);
  std::byte* escape = out.escapes;
  std::uint8_t* const symbols = out.symbols;
  const std::size_t count = tokens * channels;
  std::size_t i = 0;
  std::size_t c = 0;
  for (; i + 64 <= count; i += 64) {
    const Coded low = Code(predicted + 2 * i, actual + 2 * i, bases + c);
    const Coded high = Code(predicted + 2 * i + 64, actual + 2 * i + 64, bases + c + 32);
    alignas(64) std::uint64_t rest[8];
    alignas(64) std::uint64_t mask[8];
    _mm512_store_si512(rest, Narrow(low.rest, high.rest));
    _mm512_store_si512(mask, Narrow(low.mask, high.mask));
    _mm512_storeu_si512(symbols + i, Narrow(low.symbols, high.symbols));
    PutEscapes(low.escapes, actual + 2 * i, escape);
    PutEscapes(high.escapes, actual + 2 * i + 64, escape);
    // Through memory: taking vectors apart costs the units that are busy.
    asm("" : "+m"(rest), "+m"(mask));
    PutRest(rest, mask, bits);
    PutRest(rest + 4, mask + 4, bits);
    c += 64;
    while (c >= channels) c -= channels;
  }
  for (; i < count; ++i) {
    out.symbols[i] = PutResidual<Bf16Words>(LoadWord<std::uint16_t>(predicted, i),
                                            LoadWord<std::uint16_t>(actual, i),
                                            spreads[i % channels], bits, escape);
  }
  out.bits_bytes = bits.Finish();
  out.escapes_bytes = static_cast<std::size_t>(escape - out.escapes);
}

}  // namespace kdn::codec::avx512
