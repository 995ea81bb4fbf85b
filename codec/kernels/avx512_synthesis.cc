// From codes to values for AVX-512 with VBMI and VNNI. Compiled as avx512.cc is, and under the same
// rule: it calls no inline function that another file shares.
#include <immintrin.h>

#include "codec/kernels/avx512_nested.h"
#include "codec/kernels/synthesis.h"

namespace kdn::codec::avx512 {
namespace {

constexpr std::size_t kStep = 16;       // channels at once
constexpr std::size_t kTokens = 4;      // rows at once
constexpr std::size_t kLineBytes = 64;  // what one store that goes around the caches should fill

// 16 floats to 16 words of each type. What they do is what float_bits.h does.
struct ToBf16 {
  using Number = Bf16Number;
  static __m256i Round(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
  }
};

struct ToFp16 {
  using Number = Fp16Number;
  static __m256i Round(__m512 x) {
    return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
};

struct ToFp32 {
  using Number = Fp32Number;
  static __m512i Round(__m512 x) { return _mm512_castps_si512(x); }
};

template <class Fp8Number, int kLargest>
struct ToFp8 {
  using Number = Fp8Number;
  static __m128i Round(__m512 x) {
    using Bits = typename Number::Bits;
    constexpr unsigned kDrop = Bits::kDrop;
    constexpr std::uint32_t kOffset = 127U - Bits::kBias;
    constexpr std::uint32_t kMagic = (kOffset + 1 + kDrop) << 23;
    const __m512i all = _mm512_castps_si512(x);
    const __m512i bits = _mm512_and_si512(all, _mm512_set1_epi32(0x7FFFFFFF));
    const __m512i magic = _mm512_set1_epi32(static_cast<int>(kMagic));
    const __m512 sum = _mm512_add_ps(_mm512_castsi512_ps(bits), _mm512_castsi512_ps(magic));
    const __m512i small = _mm512_sub_epi32(_mm512_castps_si512(sum), magic);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, kDrop), _mm512_set1_epi32(1));
    const __m512i half = _mm512_set1_epi32((1 << (kDrop - 1)) - 1);
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(half, odd));
    const __m512i normal =
        _mm512_sub_epi32(_mm512_srli_epi32(rounded, kDrop),
                         _mm512_set1_epi32(static_cast<int>(kOffset << (23 - kDrop))));
    const __mmask16 tiny =
        _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(static_cast<int>((kOffset + 1) << 23)));
    const __m512i magnitude =
        _mm512_min_epu32(_mm512_mask_blend_epi32(tiny, normal, small), _mm512_set1_epi32(kLargest));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(all, 24), _mm512_set1_epi32(0x80));
    return _mm512_cvtepi32_epi8(_mm512_or_si512(magnitude, sign));
  }
};
using ToFp8E4M3 = ToFp8<Fp8E4M3Number, 0x7E>;
using ToFp8E5M2 = ToFp8<Fp8E5M2Number, 0x7B>;

[[gnu::always_inline]] inline void Put(std::byte* to, __m128i words, bool stream) {
  auto* at = reinterpret_cast<__m128i*>(to);
  stream ? _mm_stream_si128(at, words) : _mm_storeu_si128(at, words);
}
[[gnu::always_inline]] inline void Put(std::byte* to, __m256i words, bool stream) {
  auto* at = reinterpret_cast<__m256i*>(to);
  stream ? _mm256_stream_si256(at, words) : _mm256_storeu_si256(at, words);
}
[[gnu::always_inline]] inline void Put(std::byte* to, __m512i words, bool stream) {
  stream ? _mm512_stream_si512(reinterpret_cast<__m512i*>(to), words)
         : _mm512_storeu_si512(to, words);
}

// Sums of one row: codes where there is no matrix.
struct CodeSums {
  const std::int8_t* codes;
  [[nodiscard]] __m512i At(std::size_t c) const {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + c)));
  }
};
struct MatrixSums {
  const std::int32_t* sums;
  [[nodiscard]] __m512i At(std::size_t c) const { return _mm512_loadu_si512(sums + c); }
};

// One row from sums to words. `scale` has the token's exponent in it.
template <class To, bool kStream, class Sums>
struct Row {
  const Synthesis& s;
  const Sums sums;
  const float* scale;
  const float* turns;
  std::byte* to;

  [[gnu::always_inline]] inline __m512 At(std::size_t c) const {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(scale + c), _mm512_cvtepi32_ps(sums.At(c)));
    return _mm512_add_ps(_mm512_loadu_ps(s.mean + c), scaled);
  }
  [[gnu::always_inline]] inline void Write(std::size_t c, __m512 x) const {
    Put(to + c * sizeof(typename To::Number::Word), To::Round(x), kStream);
  }

  void Halves() const {
    const std::size_t half = s.rotary_dims / 2;
    for (std::size_t i = 0; i < half; i += kStep) {
      const __m512 a = At(i);
      const __m512 b = At(i + half);
      const __m512 cosine = _mm512_loadu_ps(turns + i);
      const __m512 sine = _mm512_loadu_ps(turns + half + i);
      Write(i, _mm512_sub_ps(_mm512_mul_ps(a, cosine), _mm512_mul_ps(b, sine)));
      Write(i + half, _mm512_add_ps(_mm512_mul_ps(b, cosine), _mm512_mul_ps(a, sine)));
    }
  }
  void Neighbours() const {
    const std::size_t half = s.rotary_dims / 2;
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    for (std::size_t i = 0; i < half; i += kStep / 2) {
      const __m512 x = At(2 * i);
      const __m512 other = _mm512_permute_ps(x, 0xB1);
      const __m512 cosine =
          _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(turns + i)));
      const __m512 sine =
          _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(turns + half + i)));
      const __m512 straight = _mm512_mul_ps(x, cosine);
      const __m512 crossed = _mm512_mul_ps(other, sine);
      Write(2 * i, _mm512_mask_sub_ps(_mm512_add_ps(straight, crossed), 0x5555, straight, crossed));
    }
  }
  // Numbers of turned channels that do not fill vectors.
  void OneByOne() const {
    alignas(64) float x[kChannelsMax];
    for (std::size_t c = 0; c < s.channels; c += kStep) _mm512_store_ps(x + c, At(c));
    TurnRow(s.pairs, s.rotary_dims, turns, x);
    for (std::size_t c = 0; c < s.channels; c += kStep) Write(c, _mm512_load_ps(x + c));
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

// Whether a row's stores may go around the caches: they fill whole lines.
template <class To>
bool FillsLines(const Synthesis& s, const std::byte* to) {
  return s.stream && reinterpret_cast<std::uintptr_t>(to) % kLineBytes == 0 &&
         s.channels * sizeof(typename To::Number::Word) % kLineBytes == 0;
}

template <class To, class Sums>
void FinishRow(const Synthesis& s, Sums sums, unsigned exponent, const float* turns,
               std::byte* to) {
  alignas(64) float scaled[kChannelsMax];
  const float* scale = s.scale;
  if (exponent != 0) {
    const __m512 power = _mm512_set1_ps(static_cast<float>(1U << exponent));
    for (std::size_t c = 0; c < s.channels; c += kStep) {
      _mm512_store_ps(scaled + c, _mm512_mul_ps(_mm512_loadu_ps(s.scale + c), power));
    }
    scale = scaled;
  }
  if (FillsLines<To>(s, to)) {
    Row<To, true, Sums>{s, sums, scale, turns, to}.Finish();
  } else {
    Row<To, false, Sums>{s, sums, scale, turns, to}.Finish();
  }
}

// Rows of codes in the order of components, for any head size; `flip` is put upon each.
class Ordered {
 public:
  Ordered(const Synthesis& s, const std::uint16_t* order, int flip)
      : s_(s), order_(order), flip_(_mm512_set1_epi8(static_cast<char>(flip))) {
    if (order == nullptr || s.channels > kVectorMax) return;
    for (std::size_t k = 0; k < s.channels; ++k) index_[k] = static_cast<std::uint8_t>(order[k]);
  }
  // `row` has room for 64 more than there are channels.
  void Fill(const std::int8_t* codes, std::int8_t* row) const {
    if (order_ != nullptr && s_.channels > kVectorMax) {
      for (std::size_t k = 0; k < s_.channels; ++k) row[k] = codes[order_[k]];
      codes = row;
    }
    __m512i from[4];
    for (std::size_t v = 0; v < 4; ++v) {
      from[v] = 64 * v < s_.channels ? Load(codes, 64 * v) : _mm512_setzero_si512();
    }
    const bool permute = order_ != nullptr && s_.channels <= kVectorMax;
    for (std::size_t k = 0; k < s_.channels; k += 64) {
      __m512i part;
      if (!permute) {
        part = k < kVectorMax ? from[k / 64] : Load(codes, k);
      } else {
        const __m512i index = _mm512_load_si512(index_ + k);
        part = _mm512_permutex2var_epi8(from[0], index, from[1]);
        if (s_.channels > 128) {
          part = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), part,
                                        _mm512_permutex2var_epi8(from[2], index, from[3]));
        }
      }
      _mm512_storeu_si512(row + k, _mm512_xor_si512(part, flip_));
    }
  }

 private:
  static constexpr std::size_t kVectorMax = 256;
  [[nodiscard]] __m512i Load(const std::int8_t* codes, std::size_t k) const {
    const std::size_t left = s_.channels - k;
    const __mmask64 there = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    return _mm512_maskz_loadu_epi8(there, codes + k);
  }
  const Synthesis& s_;
  const std::uint16_t* order_;
  __m512i flip_;
  alignas(64) std::uint8_t index_[kVectorMax] = {};
};

constexpr std::size_t kRowRoom = kChannelsMax + 64;
struct Rows {
  alignas(64) std::int8_t codes[kTokens][kRowRoom];
  alignas(64) std::int32_t sums[kTokens][kChannelsMax];
};

// 16 · kParts rows of the matrix times the codes of kCount tokens. Codes are taken as unsigned, 128
// higher; what that adds is known.
template <std::size_t kParts, std::size_t kCount>
[[gnu::always_inline]] inline void MultiplyPart(const Synthesis& s, std::size_t c, Rows& rows) {
  const std::size_t first = c / s.block * s.block;
  const std::int8_t* matrix = s.tiled + c * s.block;
  __m512i sums[kCount][kParts];
#pragma GCC unroll 4
  for (std::size_t p = 0; p < kParts; ++p) {
    const __m512i bias = _mm512_slli_epi32(_mm512_loadu_si512(s.row_sums + c + kStep * p), 7);
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kCount; ++t) {
      sums[t][p] = _mm512_sub_epi32(_mm512_setzero_si512(), bias);
    }
  }
  const std::size_t columns = s.columns[c / s.block];
  for (std::size_t k = 0; k < columns; k += 4, matrix += 64) {
    __m512i part[kParts];
#pragma GCC unroll 4
    for (std::size_t p = 0; p < kParts; ++p) {
      part[p] = _mm512_loadu_si512(matrix + p * kStep * s.block);
    }
#pragma GCC unroll 4
    for (std::size_t t = 0; t < kCount; ++t) {
      int four;
      __builtin_memcpy(&four, rows.codes[t] + first + k, sizeof(four));
      const __m512i codes = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (std::size_t p = 0; p < kParts; ++p) {
        sums[t][p] = _mm512_dpbusd_epi32(sums[t][p], codes, part[p]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::size_t t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (std::size_t p = 0; p < kParts; ++p) {
      _mm512_store_si512(rows.sums[t] + c + kStep * p, sums[t][p]);
    }
  }
}

template <std::size_t kCount>
void Multiply(const Synthesis& s, Rows& rows) {
  std::size_t c = 0;
  if (s.block % (4 * kStep) == 0) {
    for (; c + 4 * kStep <= s.channels; c += 4 * kStep) MultiplyPart<4, kCount>(s, c, rows);
  }
  if (s.block % (2 * kStep) == 0) {
    for (; c + 2 * kStep <= s.channels; c += 2 * kStep) MultiplyPart<2, kCount>(s, c, rows);
  }
  for (; c < s.channels; c += kStep) MultiplyPart<1, kCount>(s, c, rows);
}

unsigned ExponentOf(const std::uint8_t* exponents, std::size_t t) {
  return exponents == nullptr ? 0U : exponents[t] & 31U;
}

template <class To>
void SynthesisePlain(const Synthesis& s, const CodeRows& in, std::byte* values,
                     const std::ptrdiff_t* rows) {
  const Ordered ordered(s, s.order, 0);
  alignas(64) std::int8_t row[kRowRoom];
  for (std::size_t t = 0; t < in.tokens; ++t) {
    const std::int8_t* codes = in.codes + t * in.stride;
    if (s.order != nullptr) {
      ordered.Fill(codes, row);
      codes = row;
    }
    FinishRow<To>(s, CodeSums{codes}, ExponentOf(in.exponents, t), in.turns + t * s.rotary_dims,
                  values + rows[t]);
  }
}

template <class To>
void SynthesiseMatrix(const Synthesis& s, const CodeRows& in, std::byte* values,
                      const std::ptrdiff_t* rows) {
  const Ordered ordered(s, s.tiled_order, 0x80);
  Rows work;
  for (std::size_t t = 0; t < in.tokens;) {
    const std::size_t count = in.tokens - t < kTokens ? 1 : kTokens;
    for (std::size_t i = 0; i < count; ++i) {
      ordered.Fill(in.codes + (t + i) * in.stride, work.codes[i]);
    }
    count == 1 ? Multiply<1>(s, work) : Multiply<kTokens>(s, work);
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

void StreamFence() {
  _mm_sfence();
}

}  // namespace kdn::codec::avx512
