// From predictions to the engine's words for AVX-512 with VBMI. Compiled as avx512.cc is, and under
// the same rule: it calls no inline function that another file shares.
#include <immintrin.h>

#include "codec/kernels/avx512_nested.h"
#include "codec/kernels/correct_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

constexpr std::size_t kStep = 16;         // values at once
constexpr std::size_t kWindowBytes = 64;  // what is read of the bits at once
constexpr std::size_t kLineBytes = 64;

template <std::size_t kWordBytes>
struct Wide;
template <>
struct Wide<1> {
  static __m512i Load(const void* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
  }
  static void Store(void* to, __m512i v) {
    _mm_storeu_si128(static_cast<__m128i*>(to), _mm512_cvtepi32_epi8(v));
  }
};
template <>
struct Wide<2> {
  static __m512i Load(const void* from) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
  }
  static void Store(void* to, __m512i v) {
    _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtepi32_epi16(v));
  }
};
template <>
struct Wide<4> {
  static __m512i Load(const void* from) { return _mm512_loadu_si512(from); }
  static void Store(void* to, __m512i v) { _mm512_storeu_si512(to, v); }
};

// Sums of the first 1, 2, ... 16 double words.
[[gnu::always_inline]] inline __m512i PrefixSums(__m512i v) {
  const __m512i zero = _mm512_setzero_si512();
  v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 15));
  v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 14));
  v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 12));
  return _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 8));
}

// The `count` bits from bit `start` of the window on, in every double word.
[[gnu::always_inline]] inline __m512i BitsOf(__m512i window, __m512i start, __m512i count) {
  const __m512i first =
      _mm512_shuffle_epi8(_mm512_srli_epi32(start, 3),
                          _mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0x00000000));
  const __m512i four =
      _mm512_permutexvar_epi8(_mm512_add_epi8(first, _mm512_set1_epi32(0x03020100)), window);
  const __m512i bits = _mm512_srlv_epi32(four, _mm512_and_si512(start, _mm512_set1_epi32(7)));
  return _mm512_andnot_si512(_mm512_sllv_epi32(_mm512_set1_epi32(-1), count), bits);
}

// `first` where v has the sign of a word, else `second`, put upon v.
template <class W>
[[gnu::always_inline]] inline __m512i Flip(__m512i v, typename W::Word first,
                                           typename W::Word second) {
  const __mmask16 has = _mm512_test_epi32_mask(v, _mm512_set1_epi32(static_cast<int>(W::kSign)));
  return _mm512_xor_si512(v,
                          _mm512_mask_blend_epi32(has, _mm512_set1_epi32(static_cast<int>(second)),
                                                  _mm512_set1_epi32(static_cast<int>(first))));
}

template <class W>
[[gnu::always_inline]] inline void CorrectStep(const Correction& c, __m512i shift_base,
                                               CorrectionCursor& at, std::byte* values) {
  constexpr std::size_t kWordBytes = sizeof(typename W::Word);
  std::byte* to = values + at.done * kWordBytes;
  const __m512i p = Wide<kWordBytes>::Load(to);
  const __m512i symbol = Wide<1>::Load(c.symbols + at.done);
  const __mmask16 coded = _mm512_test_epi32_mask(symbol, symbol);
  const __m512i field = _mm512_and_si512(_mm512_srli_epi32(p, W::kMantissaBits),
                                         _mm512_set1_epi32(static_cast<int>(W::kExponentMax)));
  __m512i shift = _mm512_sub_epi32(shift_base, _mm512_max_epi32(field, _mm512_set1_epi32(1)));
  shift = _mm512_maskz_max_epi32(coded, shift, _mm512_setzero_si512());
  shift = _mm512_min_epi32(shift, _mm512_set1_epi32(W::kMantissaBits));
  const __m512i ends = PrefixSums(shift);
  const __m512i start = _mm512_add_epi32(_mm512_sub_epi32(ends, shift),
                                         _mm512_set1_epi32(static_cast<int>(at.bit % 8)));
  const __m512i low = BitsOf(_mm512_loadu_si512(c.bits + at.bit / 8), start, shift);
  const __m512i high =
      _mm512_sllv_epi32(_mm512_sub_epi32(symbol, _mm512_set1_epi32(kResidualZero)), shift);
  const __m512i n = _mm512_add_epi32(_mm512_add_epi32(Flip<W>(p, W::kAll, W::kSign), high), low);
  __m512i a = Flip<W>(n, W::kSign, W::kAll);
  if (coded != 0xFFFF) {
    const auto escaped = static_cast<__mmask16>(~coded);
    a = _mm512_mask_expand_epi32(a, escaped, Wide<kWordBytes>::Load(c.escapes + at.escapes));
    at.escapes += kWordBytes * static_cast<unsigned>(__builtin_popcount(escaped));
  }
  Wide<kWordBytes>::Store(to, a);
  at.bit += static_cast<unsigned>(_mm_extract_epi32(_mm512_extracti32x4_epi32(ends, 3), 3));
  at.done += kStep;
}

// Whether a row's reads stay within what may be read, whatever the row is.
template <class W>
bool CanReadRow(const Correction& c, const CorrectionCursor& at) {
  const auto bits = static_cast<std::size_t>(c.readable_end - c.bits);
  const auto escapes = static_cast<std::size_t>(c.readable_end - c.escapes);
  return at.bit / 8 + c.channels * W::kMantissaBits / 8 + kWindowBytes <= bits &&
         at.escapes + (c.channels + kStep) * sizeof(typename W::Word) <= escapes;
}

template <class W>
bool Correct(const Correction& c, std::byte* values) {
  alignas(64) std::int32_t bases[kCorrectionChannelsMax];
  for (std::size_t i = 0; i < c.channels; ++i) bases[i] = c.spreads[i] + W::kShiftBase;
  CorrectionCursor at{0, 0, 0};
  for (std::size_t t = 0; t < c.tokens && CanReadRow<W>(c, at); ++t) {
    for (std::size_t i = 0; i < c.channels; i += kStep) {
      CorrectStep<W>(c, _mm512_load_si512(bases + i), at, values);
    }
  }
  return CorrectFrom<W>(c, at, values);
}

}  // namespace

bool CorrectBf16(const Correction& c, std::byte* values) {
  return Correct<Bf16Words>(c, values);
}
bool CorrectFp16(const Correction& c, std::byte* values) {
  return Correct<Fp16Words>(c, values);
}
bool CorrectFp32(const Correction& c, std::byte* values) {
  return Correct<Fp32Words>(c, values);
}
bool CorrectFp8E4M3(const Correction& c, std::byte* values) {
  return Correct<Fp8E4M3Words>(c, values);
}
bool CorrectFp8E5M2(const Correction& c, std::byte* values) {
  return Correct<Fp8E5M2Words>(c, values);
}

void StreamRows(const std::byte* rows, std::size_t row_bytes, std::size_t count, std::byte* to,
                const std::ptrdiff_t* at) {
  for (std::size_t r = 0; r < count; ++r, rows += row_bytes) {
    std::byte* row = to + at[r];
    if (row_bytes % kLineBytes != 0 || reinterpret_cast<std::uintptr_t>(row) % kLineBytes != 0) {
      __builtin_memcpy(row, rows, row_bytes);
      continue;
    }
    for (std::size_t b = 0; b < row_bytes; b += kLineBytes) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(row + b), _mm512_loadu_si512(rows + b));
    }
  }
}

}  // namespace kdn::codec::avx512
