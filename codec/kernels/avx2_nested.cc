// Codes and values of the lossy levels for AVX2. Compiled as avx2.cc is, and under the same rule:
// it calls no inline function that another file shares.
#include "codec/kernels/avx2_nested.h"

#include <immintrin.h>

#include "codec/kernels/synthesis.h"

namespace kdn::codec::avx2 {
namespace {

constexpr std::size_t kStep = 8;        // channels at once
constexpr std::size_t kTokens = 4;      // rows at once
constexpr std::size_t kLineBytes = 64;  // what stores that go around the caches should fill

// What 16 symbols below 64 stand for: each quarter of the table answers for its own symbols, and 0
// for the others, which the saturating addition gives a sign.
[[gnu::always_inline]] inline __m128i LookUp(const __m128i* lut, __m128i symbols) {
  __m128i codes = _mm_setzero_si128();
  for (int quarter = 0; quarter < 4; ++quarter) {
    const __m128i own = _mm_sub_epi8(symbols, _mm_set1_epi8(static_cast<char>(16 * quarter)));
    const __m128i index = _mm_adds_epu8(own, _mm_set1_epi8(0x70));
    codes = _mm_or_si128(codes, _mm_shuffle_epi8(_mm_loadu_si128(lut + quarter), index));
  }
  return codes;
}

// 16 bits, the first in the lowest of a byte, to bytes 0 and -1.
[[gnu::always_inline]] inline __m128i Spread(const std::byte* from) {
  std::int16_t bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  const __m128i each =
      _mm_shuffle_epi8(_mm_set1_epi16(bits), _mm_set_epi64x(0x0101010101010101, 0));
  const __m128i one = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201U));
  return _mm_cmpeq_epi8(_mm_and_si128(each, one), one);
}

// 8 floats to 8 words of each type, as double words. What they do is what float_bits.h does.
struct ToBf16 {
  using Number = Bf16Number;
  static __m256i Round(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_set1_epi32(0x7FFF), odd);
    return _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
  }
};

struct ToFp32 {
  using Number = Fp32Number;
  static __m256i Round(__m256 x) { return _mm256_castps_si256(x); }
};

template <class SmallNumber, int kLargest>
struct ToSmall {
  using Number = SmallNumber;
  static __m256i Round(__m256 x) {
    using Bits = typename Number::Bits;
    constexpr unsigned kDrop = Bits::kDrop;
    constexpr std::uint32_t kOffset = 127U - Bits::kBias;
    constexpr std::uint32_t kMagic = (kOffset + 1 + kDrop) << 23;
    constexpr int kWordBits = 8 * static_cast<int>(sizeof(typename Number::Word));
    const __m256i all = _mm256_castps_si256(x);
    const __m256i bits = _mm256_and_si256(all, _mm256_set1_epi32(0x7FFFFFFF));
    const __m256i magic = _mm256_set1_epi32(static_cast<int>(kMagic));
    const __m256 sum = _mm256_add_ps(_mm256_castsi256_ps(bits), _mm256_castsi256_ps(magic));
    const __m256i small = _mm256_sub_epi32(_mm256_castps_si256(sum), magic);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, kDrop), _mm256_set1_epi32(1));
    const __m256i half = _mm256_set1_epi32((1 << (kDrop - 1)) - 1);
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(half, odd));
    const __m256i normal =
        _mm256_sub_epi32(_mm256_srli_epi32(rounded, kDrop),
                         _mm256_set1_epi32(static_cast<int>(kOffset << (23 - kDrop))));
    // Both sides are below 2^31.
    const __m256i tiny =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>((kOffset + 1) << 23)), bits);
    const __m256i magnitude =
        _mm256_min_epu32(_mm256_blendv_epi8(normal, small, tiny), _mm256_set1_epi32(kLargest));
    const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(all, 31), kWordBits - 1);
    return _mm256_or_si256(magnitude, sign);
  }
};
using ToFp16 = ToSmall<Fp16Number, 0x7C00>;
using ToFp8E4M3 = ToSmall<Fp8E4M3Number, 0x7E>;
using ToFp8E5M2 = ToSmall<Fp8E5M2Number, 0x7B>;

// Stores 8 double words as words of so many bytes.
template <std::size_t kWordBytes, bool kStream>
[[gnu::always_inline]] inline void Put(std::byte* to, __m256i words) {
  if constexpr (kWordBytes == 4) {
    auto* at = reinterpret_cast<__m256i*>(to);
    kStream ? _mm256_stream_si256(at, words) : _mm256_storeu_si256(at, words);
    return;
  }
  const __m128i pairs =
      _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  auto* at = reinterpret_cast<__m128i*>(to);
  if constexpr (kWordBytes == 2) {
    kStream ? _mm_stream_si128(at, pairs) : _mm_storeu_si128(at, pairs);
  } else {
    _mm_storel_epi64(at, _mm_packus_epi16(pairs, pairs));
  }
}

struct CodeSums {
  const std::int8_t* codes;
  [[nodiscard]] __m256i At(std::size_t c) const {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + c)));
  }
};
struct MatrixSums {
  const std::int32_t* sums;
  [[nodiscard]] __m256i At(std::size_t c) const {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + c));
  }
};

// One row from sums to words. `scale` has the token's exponent in it.
template <class To, bool kStream, class Sums>
struct Row {
  static constexpr std::size_t kWordBytes = sizeof(typename To::Number::Word);
  const Synthesis& s;
  const Sums sums;
  const float* scale;
  const float* turns;
  std::byte* to;

  [[gnu::always_inline]] inline __m256 At(std::size_t c) const {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(scale + c), _mm256_cvtepi32_ps(sums.At(c)));
    return _mm256_add_ps(_mm256_loadu_ps(s.mean + c), scaled);
  }
  [[gnu::always_inline]] inline void Write(std::size_t c, __m256 x) const {
    Put<kWordBytes, kStream>(to + c * kWordBytes, To::Round(x));
  }

  void Halves() const {
    const std::size_t half = s.rotary_dims / 2;
    for (std::size_t i = 0; i < half; i += kStep) {
      const __m256 a = At(i);
      const __m256 b = At(i + half);
      const __m256 cosine = _mm256_loadu_ps(turns + i);
      const __m256 sine = _mm256_loadu_ps(turns + half + i);
      Write(i, _mm256_sub_ps(_mm256_mul_ps(a, cosine), _mm256_mul_ps(b, sine)));
      Write(i + half, _mm256_add_ps(_mm256_mul_ps(b, cosine), _mm256_mul_ps(a, sine)));
    }
  }
  void Neighbours() const {
    const std::size_t half = s.rotary_dims / 2;
    const __m256i twice = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
    for (std::size_t i = 0; i < half; i += kStep / 2) {
      const __m256 x = At(2 * i);
      const __m256 other = _mm256_permute_ps(x, 0xB1);
      const __m256 cosine =
          _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(turns + i)), twice);
      const __m256 sine =
          _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(turns + half + i)), twice);
      Write(2 * i, _mm256_addsub_ps(_mm256_mul_ps(x, cosine), _mm256_mul_ps(other, sine)));
    }
  }
  // Numbers of turned channels that do not fill vectors.
  void OneByOne() const {
    alignas(32) float x[kChannelsMax];
    for (std::size_t c = 0; c < s.channels; c += kStep) _mm256_store_ps(x + c, At(c));
    TurnRow(s.pairs, s.rotary_dims, turns, x);
    for (std::size_t c = 0; c < s.channels; c += kStep) Write(c, _mm256_load_ps(x + c));
  }

  void Finish() const {
    std::size_t turned = s.rotary_dims;
    if (s.pairs == RotaryPairs::kHalves && turned % (2 * kStep) == 0) {
      Halves();
    } else if (s.pairs == RotaryPairs::kNeighbours && turned % kStep == 0) {
      Neighbours();
    } else if (s.pairs != RotaryPairs::kNone) {
      return OneByOne();
    } else {
      turned = 0;
    }
    for (std::size_t c = turned; c < s.channels; c += kStep) Write(c, At(c));
  }
};

template <class To, class Sums>
void FinishRow(const Synthesis& s, Sums sums, unsigned exponent, const float* turns,
               std::byte* to) {
  alignas(32) float scaled[kChannelsMax];
  const float* scale = s.scale;
  if (exponent != 0) {
    const __m256 power = _mm256_set1_ps(static_cast<float>(1U << exponent));
    for (std::size_t c = 0; c < s.channels; c += kStep) {
      _mm256_store_ps(scaled + c, _mm256_mul_ps(_mm256_loadu_ps(s.scale + c), power));
    }
    scale = scaled;
  }
  constexpr std::size_t kWordBytes = sizeof(typename To::Number::Word);
  const bool lines = reinterpret_cast<std::uintptr_t>(to) % kLineBytes == 0 &&
                     s.channels * kWordBytes % kLineBytes == 0;
  if (s.stream && lines) {
    Row<To, true, Sums>{s, sums, scale, turns, to}.Finish();
  } else {
    Row<To, false, Sums>{s, sums, scale, turns, to}.Finish();
  }
}

struct Rows {
  alignas(32) std::int16_t codes[kTokens][kChannelsMax];  // in the order of components
  alignas(32) std::int32_t sums[kTokens][kChannelsMax];
};

// 8 rows of the matrix times the codes of kCount tokens. An accumulator has two sums of each of
// four rows: over even and over odd pairs of columns.
template <std::size_t kCount>
[[gnu::always_inline]] inline void MultiplyPart(const Synthesis& s, std::size_t c, Rows& rows) {
  const std::size_t first = c / s.block * s.block;
  // Rows c to c + 7 are one half of each 64 bytes.
  const std::int8_t* matrix = s.tiled + c / 16 * 16 * s.block + c % 16 * 4;
  __m256i upper[kCount];
  __m256i lower[kCount];
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kCount; ++t) upper[t] = lower[t] = _mm256_setzero_si256();
  const std::size_t columns = s.columns[c / s.block];
  for (std::size_t k = 0; k < columns; k += 4, matrix += 64) {
    const auto* part = reinterpret_cast<const __m128i*>(matrix);
    const __m256i up = _mm256_cvtepi8_epi16(_mm_loadu_si128(part));
    const __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(part + 1));
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kCount; ++t) {
      long long four;
      __builtin_memcpy(&four, rows.codes[t] + first + k, sizeof(four));
      const __m256i codes = _mm256_set1_epi64x(four);
      upper[t] = _mm256_add_epi32(upper[t], _mm256_madd_epi16(codes, up));
      lower[t] = _mm256_add_epi32(lower[t], _mm256_madd_epi16(codes, low));
    }
  }
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kCount; ++t) {
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(upper[t], lower[t]), 0xD8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(rows.sums[t] + c), sums);
  }
}

unsigned ExponentOf(const std::uint8_t* exponents, std::size_t t) {
  return exponents == nullptr ? 0U : exponents[t] & 31U;
}

template <class To>
void SynthesisePlain(const Synthesis& s, const CodeRows& in, std::byte* values,
                     const std::ptrdiff_t* rows) {
  std::int8_t ordered[kChannelsMax];
  for (std::size_t t = 0; t < in.tokens; ++t) {
    const std::int8_t* codes = in.codes + t * in.stride;
    if (s.order != nullptr) {
      for (std::size_t k = 0; k < s.channels; ++k) ordered[k] = codes[s.order[k]];
      codes = ordered;
    }
    FinishRow<To>(s, CodeSums{codes}, ExponentOf(in.exponents, t), in.turns + t * s.rotary_dims,
                  values + rows[t]);
  }
}

template <class To>
void SynthesiseMatrix(const Synthesis& s, const CodeRows& in, std::byte* values,
                      const std::ptrdiff_t* rows) {
  Rows work;
  for (std::size_t t = 0; t < in.tokens;) {
    const std::size_t count = in.tokens - t < kTokens ? 1 : kTokens;
    for (std::size_t i = 0; i < count; ++i) {
      const std::int8_t* codes = in.codes + (t + i) * in.stride;
      for (std::size_t k = 0; k < s.channels; ++k) {
        work.codes[i][k] = codes[s.tiled_order == nullptr ? k : s.tiled_order[k]];
      }
    }
    for (std::size_t c = 0; c < s.channels; c += kStep) {
      count == 1 ? MultiplyPart<1>(s, c, work) : MultiplyPart<kTokens>(s, c, work);
    }
    for (std::size_t i = 0; i < count; ++i, ++t) {
      FinishRow<To>(s, MatrixSums{work.sums[i]}, ExponentOf(in.exponents, t),
                    in.turns + t * s.rotary_dims, values + rows[t]);
    }
  }
}

template <class To>
void Synthesise(const Synthesis& s, const CodeRows& in, std::byte* values,
                const std::ptrdiff_t* rows) {
  s.block == 1 ? SynthesisePlain<To>(s, in, values, rows)
               : SynthesiseMatrix<To>(s, in, values, rows);
}

}  // namespace

void ClassCodesWide(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                    std::size_t stride) {
  const auto* lut = reinterpret_cast<const __m128i*>(codes.lut);
  std::size_t i = 0;
  for (std::size_t t = 0; t < tokens; ++t, out += stride) {
    for (std::size_t k = 0; k < codes.width; k += 16, i += 16) {
      const auto* symbols = reinterpret_cast<const __m128i*>(codes.symbols + i);
      __m128i code = LookUp(lut, _mm_loadu_si128(symbols));
      for (std::size_t p = 0; p < codes.planes; ++p) {
        const auto unit = _mm_set1_epi8(static_cast<char>(1U << (codes.plane_shift - p)));
        code = _mm_add_epi8(code, _mm_and_si128(Spread(codes.plane[p] + i / 8), unit));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + k), code);
    }
  }
}

void SynthesiseBf16(const Synthesis& s, const CodeRows& in, std::byte* values,
                    const std::ptrdiff_t* rows) {
  Synthesise<ToBf16>(s, in, values, rows);
}
void SynthesiseFp16(const Synthesis& s, const CodeRows& in, std::byte* values,
                    const std::ptrdiff_t* rows) {
  Synthesise<ToFp16>(s, in, values, rows);
}
void SynthesiseFp32(const Synthesis& s, const CodeRows& in, std::byte* values,
                    const std::ptrdiff_t* rows) {
  Synthesise<ToFp32>(s, in, values, rows);
}
void SynthesiseFp8E4M3(const Synthesis& s, const CodeRows& in, std::byte* values,
                       const std::ptrdiff_t* rows) {
  Synthesise<ToFp8E4M3>(s, in, values, rows);
}
void SynthesiseFp8E5M2(const Synthesis& s, const CodeRows& in, std::byte* values,
                       const std::ptrdiff_t* rows) {
  Synthesise<ToFp8E5M2>(s, in, values, rows);
}

void StreamRows(const std::byte* rows, std::size_t row_bytes, std::size_t count, std::byte* to,
                const std::ptrdiff_t* at) {
  for (std::size_t r = 0; r < count; ++r, rows += row_bytes) {
    std::byte* row = to + at[r];
    if (row_bytes % kLineBytes != 0 || reinterpret_cast<std::uintptr_t>(row) % kLineBytes != 0) {
      __builtin_memcpy(row, rows, row_bytes);
      continue;
    }
    for (std::size_t b = 0; b < row_bytes; b += 32) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(row + b),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + b)));
    }
  }
}

void StreamFence() {
  _mm_sfence();
}

}  // namespace kdn::codec::avx2
