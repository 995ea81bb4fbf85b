// What encoding measures and counts, compiled for AVX-512 as avx512.cc is, and under the same rule:
// it calls no inline function that another file shares.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

__m512 Load(const float* from) {
  return _mm512_loadu_ps(from);
}

// --- Means and scales ---
//
// The specification adds up in double precision, but what it says has 8 bits. So sums of
// differences from some token are taken in float, with a bound of what that may be off; only where
// both ends of what is possible are not rounded to the same number is a channel measured as the
// specification does it.

constexpr double kUnit = 0x1p-24;         // relative error of one operation in float
constexpr std::size_t kTokensAtOnce = 8;  // what one sum of sums has

// Sums of the differences from `centre`, in double over sums in float, and of their squares, in
// float, 16 · kVectors channels.
template <int kVectors>
void SumColumns(const float* values, const float* centre, std::size_t tokens, std::size_t channels,
                double* sums, float* squares) {
  __m512d low[kVectors];
  __m512d high[kVectors];
  __m512 square[kVectors];
  __m512 middle[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    low[v] = _mm512_setzero_pd();
    high[v] = _mm512_setzero_pd();
    square[v] = _mm512_setzero_ps();
    middle[v] = Load(centre + 16 * v);
  }
  for (std::size_t first = 0; first < tokens; first += kTokensAtOnce) {
    const std::size_t left = tokens - first;
    const std::size_t here = left < kTokensAtOnce ? left : kTokensAtOnce;
    __m512 some[kVectors];
    __m512 some_squares[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      some[v] = _mm512_setzero_ps();
      some_squares[v] = _mm512_setzero_ps();
    }
    for (std::size_t t = 0; t < here; ++t, values += channels) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const __m512 off = _mm512_sub_ps(Load(values + 16 * v), middle[v]);
        some[v] = _mm512_add_ps(some[v], off);
        some_squares[v] = _mm512_fmadd_ps(off, off, some_squares[v]);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      low[v] = _mm512_add_pd(low[v], _mm512_cvtps_pd(_mm512_castps512_ps256(some[v])));
      high[v] = _mm512_add_pd(high[v], _mm512_cvtps_pd(_mm512_extractf32x8_ps(some[v], 1)));
      square[v] = _mm512_add_ps(square[v], some_squares[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    _mm512_storeu_pd(sums + 16 * v, low[v]);
    _mm512_storeu_pd(sums + 16 * v + 8, high[v]);
    _mm512_storeu_ps(squares + 16 * v, square[v]);
  }
}

// RoundToBf16Value() of 8 finite numbers.
[[gnu::always_inline]] inline __m256i RoundToBf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  return _mm256_and_si256(up, _mm256_set1_epi32(static_cast<int>(0xFFFF0000U)));
}
// ScaleOf() of 8 means of squares.
[[gnu::always_inline]] inline __m256i RoundScale(__m512d mean_square) {
  const __m256 deviation = _mm512_cvtpd_ps(_mm512_sqrt_pd(mean_square));
  const __m256 bin = _mm256_div_ps(deviation, _mm256_set1_ps(kBinsPerDeviation));
  const __m256 scale = _mm256_mul_ps(bin, _mm256_set1_ps(0.125F));
  return RoundToBf16(_mm256_max_ps(scale, _mm256_set1_ps(1e-30F)));
}

// 8 channels' numbers out of their sums; which of them are certain.
[[gnu::always_inline]] inline __mmask8 Conclude(const double* sums, const float* squares,
                                                const float* centre, double tokens, float* mean,
                                                float* scale) {
  const __m512d n = _mm512_set1_pd(tokens);
  const __m512d one_nth = _mm512_set1_pd(1.0 / tokens);
  const __m512d s1 = _mm512_loadu_pd(sums);
  const __m512d s2 = _mm512_cvtps_pd(_mm256_loadu_ps(squares));
  const __m512d c = _mm512_cvtps_pd(_mm256_loadu_ps(centre));
  // Additions in float that a difference passes and its own rounding, with room to spare; its
  // square passes one more for every sum. Squares may underflow.
  constexpr double kSteps = kTokensAtOnce + 2;
  const double square_steps = kSteps + 2 + tokens / static_cast<double>(kTokensAtOnce);
  const __m512d s2_off = _mm512_add_pd(_mm512_mul_pd(s2, _mm512_set1_pd(square_steps * kUnit)),
                                       _mm512_set1_pd(tokens * 1e-44));
  // The sum of magnitudes is at most the root of n times that of squares.
  const __m512d s1_off = _mm512_mul_pd(_mm512_set1_pd(kSteps * kUnit),
                                       _mm512_sqrt_pd(_mm512_mul_pd(n, _mm512_add_pd(s2, s2_off))));

  const __m512d middle = _mm512_add_pd(c, _mm512_mul_pd(s1, one_nth));
  // Also what sums in double are off, the specification's among them.
  const __m512d in_double =
      _mm512_mul_pd(_mm512_add_pd(_mm512_abs_pd(c), s1_off), _mm512_set1_pd(tokens * 0x1p-50));
  const __m512d off = _mm512_add_pd(_mm512_mul_pd(s1_off, one_nth), in_double);
  const __m256i low = RoundToBf16(_mm512_cvtpd_ps(_mm512_sub_pd(middle, off)));
  const __m256i high = RoundToBf16(_mm512_cvtpd_ps(_mm512_add_pd(middle, off)));
  __mmask8 certain = _mm256_cmpeq_epi32_mask(low, high);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(mean), low);

  // Around m instead of c: s2 - (m - c) · (2 · s1 - n · (m - c)).
  const __m512d moved = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_castsi256_ps(low)), c);
  const __m512d cross = _mm512_sub_pd(_mm512_add_pd(s1, s1), _mm512_mul_pd(n, moved));
  const __m512d around = _mm512_sub_pd(s2, _mm512_mul_pd(moved, cross));
  const __m512d moved_off =
      _mm512_mul_pd(_mm512_abs_pd(moved), _mm512_add_pd(_mm512_add_pd(s1_off, s1_off), in_double));
  const __m512d around_off =
      _mm512_add_pd(_mm512_add_pd(s2_off, moved_off),
                    _mm512_mul_pd(_mm512_add_pd(s2, _mm512_abs_pd(_mm512_mul_pd(moved, cross))),
                                  _mm512_set1_pd(tokens * 0x1p-50)));
  const __m512d least = _mm512_sub_pd(around, around_off);
  certain &= _mm512_cmp_pd_mask(least, _mm512_setzero_pd(), _CMP_GE_OQ);
  certain &= _mm512_cmp_pd_mask(s2, _mm512_set1_pd(1e36), _CMP_LT_OQ);
  const __m256i smallest = RoundScale(_mm512_mul_pd(least, one_nth));
  const __m256i largest = RoundScale(_mm512_mul_pd(_mm512_add_pd(around, around_off), one_nth));
  certain &= _mm256_cmpeq_epi32_mask(smallest, largest);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(scale), smallest);
  return certain;
}

// --- Counting ---
//
// Eight symbols at a time are one bit each of a byte; how often a bit is set is counted for all 512
// bits of a vector at once, in binary numbers of which `slices_[k]` has digit k.

[[gnu::always_inline]] inline void AddBits(__m512i a, __m512i b, __m512i& sum, __m512i& carry) {
  const __m512i c = sum;
  sum = _mm512_ternarylogic_epi64(a, b, c, 0x96);
  carry = _mm512_ternarylogic_epi64(a, b, c, 0xE8);
}

class SymbolCounts {
 public:
  static constexpr std::size_t kStep = 1024;  // symbols that are added at once

  // Symbols below 64, a multiple of kStep of them.
  void Add(const std::uint8_t* symbols, std::size_t count) {
    const unsigned there = GroupsIn(symbols, count);
    for (std::size_t first = 0; first < count; first += kPart) {
      const std::size_t here = count - first < kPart ? count - first : kPart;
      if (held_ + here / kStep > kHeldMax) Flush();
      held_ += here / kStep;
      used_ |= there;
      for (unsigned group = 0; group < 8; ++group) {
        if ((there >> group & 1U) != 0) AddGroup(group, symbols + first, here);
      }
    }
  }
  void AddTo(std::uint32_t* counts) {
    Flush();
    for (std::size_t s = 0; s < 64; ++s) counts[s] += total_[s];
  }

 private:
  static constexpr std::size_t kPart = 8 * kStep;  // stays in the first cache
  static constexpr std::size_t kDigits = 6;        // from 16 on
  static constexpr std::size_t kHeldMax = (1U << kDigits) - 1;

  // Which eighths of the symbols occur.
  static unsigned GroupsIn(const std::uint8_t* symbols, std::size_t count) {
    alignas(64) std::uint8_t bit_of[64];
    for (unsigned s = 0; s < 64; ++s) bit_of[s] = static_cast<std::uint8_t>(1U << (s / 8));
    const __m512i bits = _mm512_load_si512(bit_of);
    __m512i all = _mm512_setzero_si512();
    for (std::size_t i = 0; i < count; i += 64) {
      all = _mm512_or_si512(all, _mm512_permutexvar_epi8(_mm512_loadu_si512(symbols + i), bits));
    }
    auto folded = static_cast<std::uint64_t>(_mm512_reduce_or_epi64(all));
    folded |= folded >> 32;
    folded |= folded >> 16;
    folded |= folded >> 8;
    return static_cast<unsigned>(folded & 0xFF);
  }

  void AddGroup(unsigned group, const std::uint8_t* symbols, std::size_t count) {
    // Symbol 8 · group + k is bit k.
    const __m512i lut = _mm512_maskz_set1_epi64(static_cast<__mmask8>(1U << group),
                                                static_cast<long long>(0x8040201008040201ULL));
    __m512i* slices = slices_[group];
    __m512i ones = slices[0];
    __m512i twos = slices[1];
    __m512i fours = slices[2];
    __m512i eights = slices[3];
    for (std::size_t i = 0; i < count; i += kStep) {
      const auto at = [&](std::size_t v) __attribute__((always_inline)) {
        return _mm512_permutexvar_epi8(_mm512_loadu_si512(symbols + i + 64 * v), lut);
      };
      __m512i two[2];
      __m512i four[2];
      __m512i eight[2];
      __m512i sixteen;
#pragma GCC unroll 2
      for (std::size_t e = 0; e < 2; ++e) {
#pragma GCC unroll 2
        for (std::size_t f = 0; f < 2; ++f) {
          const std::size_t v = 8 * e + 4 * f;
          AddBits(at(v), at(v + 1), ones, two[0]);
          AddBits(at(v + 2), at(v + 3), ones, two[1]);
          AddBits(two[0], two[1], twos, four[f]);
        }
        AddBits(four[0], four[1], fours, eight[e]);
      }
      AddBits(eight[0], eight[1], eights, sixteen);
      __m512i* digit = slices + 4;
      for (std::size_t k = 0; k < kDigits; ++k, ++digit) {
        const __m512i old = *digit;
        *digit = _mm512_xor_si512(old, sixteen);
        sixteen = _mm512_and_si512(old, sixteen);
      }
    }
    slices[0] = ones;
    slices[1] = twos;
    slices[2] = fours;
    slices[3] = eights;
  }

  void Flush() {
    for (unsigned group = 0; group < 8; ++group) {
      if ((used_ >> group & 1U) == 0) continue;
      for (unsigned k = 0; k < 4 + kDigits; ++k) {
        const __m512i digit = slices_[group][k];
        for (unsigned bit = 0; bit < 8; ++bit) {
          const std::uint64_t set =
              _mm512_test_epi8_mask(digit, _mm512_set1_epi8(static_cast<char>(1U << bit)));
          total_[8 * group + bit] += static_cast<std::uint32_t>(__builtin_popcountll(set)) << k;
        }
        slices_[group][k] = _mm512_setzero_si512();
      }
    }
    used_ = 0;
    held_ = 0;
  }

  __m512i slices_[8][4 + kDigits] = {};
  std::uint32_t total_[64] = {};
  unsigned used_ = 0;
  std::size_t held_ = 0;
};

// --- Bins ---

// The constants of 64 channels, and what they make of values.
class OwnBins {
 public:
  OwnBins(const float* mean, const float* scale) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      mean_[v] = Load(mean + 16 * v);
      scale_[v] = Load(scale + 16 * v);
      reciprocal_[v] = _mm512_div_ps(_mm512_set1_ps(1.0F), scale_[v]);
    }
  }
  // 64 bins as symbols, in no order.
  [[gnu::always_inline]] inline __m512i Symbols(const float* values) const {
    const __m512i bins = _mm512_packs_epi16(_mm512_packs_epi32(At<0>(values), At<1>(values)),
                                            _mm512_packs_epi32(At<2>(values), At<3>(values)));
    const __m512i clamped = _mm512_max_epi8(bins, _mm512_set1_epi8(static_cast<char>(-kOwnBinMax)));
    return _mm512_add_epi8(clamped, _mm512_set1_epi8(kMiddleSymbol));
  }

 private:
  // A quotient that is rounded as a division's is: the scale has 8 significant bits, so the
  // remainder of the first quotient is exact, and no quotient lies so near to the middle between
  // two numbers that what is added for the remainder could be rounded otherwise. Requires: scales
  // of kSmallestScale at least, for then nothing overflows, and nothing underflows that matters.
  template <int v>
  [[gnu::always_inline]] inline __m512i At(const float* values) const {
    const __m512 x = _mm512_sub_ps(Load(values + 16 * v), mean_[v]);
    const __m512 first = _mm512_mul_ps(x, reciprocal_[v]);
    const __m512 units =
        _mm512_fmadd_ps(_mm512_fnmadd_ps(first, scale_[v], x), reciprocal_[v], first);
    __m512 at = _mm512_fmadd_ps(units, _mm512_set1_ps(0.125F), _mm512_set1_ps(0.5F));
    at = _mm512_min_ps(at, _mm512_set1_ps(static_cast<float>(kOwnBinMax)));
    return _mm512_cvt_roundps_epi32(at, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  __m512 mean_[4];
  __m512 scale_[4];
  __m512 reciprocal_[4];
};
constexpr float kSmallestScale = 1e-20F;

}  // namespace

void Measure(const float* values, std::size_t tokens, std::size_t channels, float* mean,
             float* scale) {
  alignas(64) double sums[kAnalysedChannelsMax];
  alignas(64) float squares[kAnalysedChannelsMax];
  // Some token; the first ones are often far outside.
  const float* centre = values + tokens / 2 * channels;
  std::size_t c = 0;
  for (; c + 64 <= channels; c += 64) {
    SumColumns<4>(values + c, centre + c, tokens, channels, sums + c, squares + c);
  }
  for (; c < channels; c += 16) {
    SumColumns<1>(values + c, centre + c, tokens, channels, sums + c, squares + c);
  }
  for (c = 0; c < channels; c += 8) {
    unsigned open =
        0xFFU & ~static_cast<unsigned>(Conclude(sums + c, squares + c, centre + c,
                                                static_cast<double>(tokens), mean + c, scale + c));
    for (; open != 0; open &= open - 1) {
      const std::size_t one = c + static_cast<std::size_t>(__builtin_ctz(open));
      MeasureChannel(values + one, tokens, channels, mean + one, scale + one);
    }
  }
}

void CountBins(const float* values, std::size_t tokens, std::size_t channels, const float* mean,
               const float* scale, std::uint32_t* counts) {
  bool plain = channels % 64 != 0;
  for (std::size_t c = 0; c < channels && !plain; c += 16) {
    plain = _mm512_cmp_ps_mask(Load(scale + c), _mm512_set1_ps(kSmallestScale), _CMP_NGE_UQ) != 0;
  }
  if (plain) return CountBinsOneByOne(values, tokens, channels, mean, scale, counts);
  constexpr std::size_t kRoom = 4 * SymbolCounts::kStep;
  alignas(64) std::uint8_t symbols[kRoom];
  std::uint32_t counted[64] = {};
  SymbolCounts all;
  std::size_t filled = 0;
  for (std::size_t c = 0; c < channels; c += 64) {
    const OwnBins bins(mean + c, scale + c);
    for (std::size_t t = 0; t < tokens;) {
      const std::size_t room = (kRoom - filled) / 64;
      const std::size_t end = tokens - t < room ? tokens : t + room;
      for (; t < end; ++t, filled += 64) {
        _mm512_store_si512(symbols + filled, bins.Symbols(values + t * channels + c));
      }
      if (filled < kRoom) continue;
      all.Add(symbols, kRoom);
      filled = 0;
    }
  }
  const std::size_t whole = filled / SymbolCounts::kStep * SymbolCounts::kStep;
  if (whole != 0) all.Add(symbols, whole);
  all.AddTo(counted);
  CountSymbolsOneByOne(symbols + whole, filled - whole, counted);
  for (int b = -kOwnBinMax; b <= kOwnBinMax; ++b) {
    counts[b + kOwnBinMax] += counted[b + kMiddleSymbol];
  }
}

void CountSymbols(const std::uint8_t* symbols, std::size_t count, std::uint32_t* counts) {
  const std::size_t whole = count / SymbolCounts::kStep * SymbolCounts::kStep;
  if (whole >= 2 * SymbolCounts::kStep) {  // else setting up the counters takes longer
    SymbolCounts all;
    all.Add(symbols, whole);
    all.AddTo(counts);
    symbols += whole;
    count -= whole;
  }
  CountSymbolsOneByOne(symbols, count, counts);
}

}  // namespace kdn::codec::avx512
