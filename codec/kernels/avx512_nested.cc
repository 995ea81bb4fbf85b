// Compiled for AVX-512 with VBMI and VNNI, as avx512.cc is, and under the same rule: it calls no
// inline function that another file shares.
#include "codec/kernels/avx512_nested.h"

#include <immintrin.h>

#include "codec/kernels/synthesis.h"

namespace kdn::codec::avx512 {
namespace {

std::uint64_t LoadBits(const std::byte* from, std::size_t bytes) {
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, from, bytes);
  return bits;
}

// 16 codes at a time belong to one token, as every width is a multiple of 16.
void ScatterCodes(__m512i codes, std::size_t count, std::size_t at, std::size_t width,
                  std::int8_t* out, std::size_t stride) {
  const __m128i parts[4] = {_mm512_castsi512_si128(codes), _mm512_extracti32x4_epi32(codes, 1),
                            _mm512_extracti32x4_epi32(codes, 2),
                            _mm512_extracti32x4_epi32(codes, 3)};
  std::size_t token = at / width;
  std::size_t k = at % width;
  for (std::size_t p = 0; 16 * p < count; ++p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + token * stride + k), parts[p]);
    k += 16;
    if (k == width) {
      k = 0;
      ++token;
    }
  }
}

// Rows of codes in the order of components, for any head size.
class Ordered {
 public:
  explicit Ordered(const Synthesis& s) : s_(s) {
    if (s.order == nullptr || s.channels > 128) return;
    for (std::size_t k = 0; k < s.channels; ++k) index_[k] = static_cast<std::uint8_t>(s.order[k]);
    first_ = _mm512_loadu_si512(index_);
    second_ = _mm512_loadu_si512(index_ + 64);
  }
  // `row` has room for 64 more than there are channels.
  const std::int8_t* Row(const std::int8_t* codes, std::int8_t* row) const {
    if (s_.order == nullptr) return codes;
    if (s_.channels > 128) {
      for (std::size_t k = 0; k < s_.channels; ++k) row[k] = codes[s_.order[k]];
      return row;
    }
    const std::size_t above = s_.channels > 64 ? s_.channels - 64 : 0;
    const __m512i low = _mm512_maskz_loadu_epi8(Mask(s_.channels), codes);
    const __m512i high = _mm512_maskz_loadu_epi8(Mask(above), codes + 64);
    _mm512_storeu_si512(row, _mm512_permutex2var_epi8(low, first_, high));
    if (above != 0) _mm512_storeu_si512(row + 64, _mm512_permutex2var_epi8(low, second_, high));
    return row;
  }

 private:
  static __mmask64 Mask(std::size_t count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
  }
  const Synthesis& s_;
  alignas(64) std::uint8_t index_[128] = {};
  __m512i first_ = _mm512_setzero_si512();
  __m512i second_ = _mm512_setzero_si512();
};

[[gnu::always_inline]] inline __m512 Scaled(const Synthesis& s, std::size_t c, __m512 power,
                                            __m512i sums) {
  const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(s.scale + c), power);
  return _mm512_add_ps(_mm512_loadu_ps(s.mean + c), _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sums)));
}

// kRows times 16 rows of the matrix at once share each broadcast of codes. Codes are taken as
// unsigned, 128 higher; what that adds is known.
template <int kRows>
[[gnu::always_inline]] inline void MultiplyRows(const Synthesis& s, const std::int8_t* codes,
                                                std::size_t c, __m512 power, float* x) {
  const std::int8_t* part = codes + c / s.block * s.block;
  const std::int8_t* tile = s.tiled + c * s.block;
  __m512i sums[kRows];
  for (int r = 0; r < kRows; ++r) {
    sums[r] = _mm512_slli_epi32(
        _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(s.row_sums + c + 16 * r)), 7);
  }
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (std::size_t k = 0; k < s.block; k += 4, tile += 64) {
    int four = 0;
    __builtin_memcpy(&four, part + k, sizeof(four));
    const __m512i biased = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
    for (int r = 0; r < kRows; ++r) {
      sums[r] = _mm512_dpbusd_epi32(
          sums[r], biased, _mm512_loadu_si512(tile + static_cast<std::size_t>(r) * 16 * s.block));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const std::size_t at = c + 16 * static_cast<std::size_t>(r);
    _mm512_storeu_ps(x + at, Scaled(s, at, power, sums[r]));
  }
}

void FillRow(const Synthesis& s, const std::int8_t* codes, __m512 power, float* x) {
  if (s.block == 1) {
    for (std::size_t c = 0; c < s.channels; c += 16) {
      const __m512i sums =
          _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + c)));
      _mm512_storeu_ps(x + c, Scaled(s, c, power, sums));
    }
    return;
  }
  std::size_t c = 0;
  if (s.block % 64 == 0) {
    for (; c + 64 <= s.channels; c += 64) MultiplyRows<4>(s, codes, c, power, x);
  }
  if (s.block % 32 == 0) {
    for (; c + 32 <= s.channels; c += 32) MultiplyRows<2>(s, codes, c, power, x);
  }
  for (; c < s.channels; c += 16) MultiplyRows<1>(s, codes, c, power, x);
}

void TurnHalves(std::size_t half, const float* turns, float* x) {
  for (std::size_t i = 0; i < half; i += 16) {
    const __m512 a = _mm512_loadu_ps(x + i);
    const __m512 b = _mm512_loadu_ps(x + i + half);
    const __m512 cosine = _mm512_loadu_ps(turns + i);
    const __m512 sine = _mm512_loadu_ps(turns + half + i);
    _mm512_storeu_ps(x + i, _mm512_sub_ps(_mm512_mul_ps(a, cosine), _mm512_mul_ps(b, sine)));
    _mm512_storeu_ps(x + i + half, _mm512_add_ps(_mm512_mul_ps(b, cosine), _mm512_mul_ps(a, sine)));
  }
}

__m256i RoundToBf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

}  // namespace

void ClassCodesWide(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                    std::size_t stride) {
  const std::size_t count = tokens * codes.width;
  const __m512i lut = _mm512_loadu_si512(codes.lut);
  for (std::size_t i = 0; i < count; i += 64) {
    const std::size_t here = count - i < 64 ? count - i : 64;
    const __mmask64 lanes = here == 64 ? ~__mmask64{0} : (__mmask64{1} << here) - 1;
    __m512i code = _mm512_permutexvar_epi8(_mm512_maskz_loadu_epi8(lanes, codes.symbols + i), lut);
    for (std::size_t p = 0; p < codes.planes; ++p) {
      const __mmask64 bits = LoadBits(codes.plane[p] + i / 8, here / 8);
      code = _mm512_mask_add_epi8(
          code, bits, code, _mm512_set1_epi8(static_cast<char>(1U << (codes.plane_shift - p))));
    }
    if (here == 64 && codes.width == stride) {
      _mm512_storeu_si512(out + i, code);
    } else {
      ScatterCodes(code, here, i, codes.width, out, stride);
    }
  }
}

void SynthesiseBf16(const Synthesis& s, const std::int8_t* codes, std::size_t code_stride,
                    const std::uint8_t* exponents, const float* turns, std::size_t tokens,
                    std::byte* values, std::ptrdiff_t value_stride) {
  const Ordered ordered(s);
  alignas(64) std::int8_t row[kChannelsMax + 64];
  alignas(64) float x[kChannelsMax];
  const std::size_t half = s.rotary_dims / 2;
  for (std::size_t t = 0; t < tokens; ++t) {
    const unsigned exponent = exponents == nullptr ? 0U : exponents[t] & 31U;
    FillRow(s, ordered.Row(codes, row), _mm512_set1_ps(static_cast<float>(1U << exponent)), x);
    if (s.pairs == RotaryPairs::kHalves && half % 16 == 0) {
      TurnHalves(half, turns, x);
    } else if (s.pairs != RotaryPairs::kNone) {
      TurnRow(s.pairs, s.rotary_dims, turns, x);
    }
    for (std::size_t c = 0; c < s.channels; c += 16) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + 2 * c),
                          RoundToBf16(_mm512_load_ps(x + c)));
    }
    codes += code_stride;
    turns += s.rotary_dims;
    values += value_stride;
  }
}

}  // namespace kdn::codec::avx512
