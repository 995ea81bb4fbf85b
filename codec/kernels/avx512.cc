// The only file compiled for AVX-512 (see codec/CMakeLists.txt). It calls no inline function that
// another file shares: the linker keeps one copy of those, and it might keep the AVX-512 one.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/avx512_nested.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"
#include "codec/kernels/value_bits.h"

namespace kdn::codec {
namespace {

__m512i Load(const void* from) {
  return _mm512_loadu_si512(from);
}
void Store(void* to, __m512i v) {
  _mm512_storeu_si512(to, v);
}
__m512i Word16(int value) {
  return _mm512_set1_epi16(static_cast<short>(value));
}
__m512i Byte8(int value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

// 32 bytes to 32 words and back, 16 bytes to 16 double words and back.
__m512i Widen16(const void* from) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
}
__m512i Widen32(const void* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
}
void Narrow16(void* to, __m512i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtepi16_epi8(v));
}
void Narrow32(void* to, __m512i v) {
  _mm_storeu_si128(static_cast<__m128i*>(to), _mm512_cvtepi32_epi8(v));
}

// Truth tables of vpternlog for f(a, b, c).
constexpr int kSelectByA = 0xCA;  // a ? b : c
constexpr int kOrOfAll = 0xFE;    // a | b | c
constexpr int kAOrBAndC = 0xF8;   // a | (b & c)

struct Bf16 : Bf16Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow16(p[0] + i, _mm512_srli_epi16(v, 7));
    Narrow16(p[1] + i,
             _mm512_ternarylogic_epi32(Word16(0x7F), v, _mm512_srli_epi16(v, 8), kSelectByA));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i exponent = _mm512_slli_epi16(Widen16(p[0] + i), 7);
    const __m512i rest = Widen16(p[1] + i);
    const __m512i spread = _mm512_or_si512(rest, _mm512_slli_epi16(rest, 8));
    Store(values, _mm512_ternarylogic_epi32(Word16(0x807F), spread, exponent, kSelectByA));
  }
};

struct Fp16 : Fp16Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow16(p[0] + i, _mm512_srli_epi16(v, 10));
    Narrow16(p[1] + i, _mm512_and_si512(_mm512_srli_epi16(v, 8), Word16(3)));
    Narrow16(p[2] + i, v);
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    Store(values, _mm512_ternarylogic_epi32(_mm512_slli_epi16(Widen16(p[0] + i), 10),
                                            _mm512_slli_epi16(Widen16(p[1] + i), 8),
                                            Widen16(p[2] + i), kOrOfAll));
  }
};

struct Fp32 : Fp32Bits {
  static constexpr std::size_t kStep = 16;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow32(p[0] + i, _mm512_srli_epi32(v, 23));
    Narrow32(p[1] + i, _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7F), _mm512_srli_epi32(v, 16),
                                                 _mm512_srli_epi32(v, 24), kSelectByA));
    Narrow32(p[2] + i, _mm512_srli_epi32(v, 8));
    Narrow32(p[3] + i, v);
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i top = Widen32(p[1] + i);
    const __m512i spread = _mm512_or_si512(_mm512_slli_epi32(top, 16), _mm512_slli_epi32(top, 24));
    const __m512i high =
        _mm512_ternarylogic_epi32(_mm512_slli_epi32(Widen32(p[0] + i), 23), spread,
                                  _mm512_set1_epi32(static_cast<int>(0x807F0000U)), kAOrBAndC);
    Store(values, _mm512_ternarylogic_epi32(high, _mm512_slli_epi32(Widen32(p[2] + i), 8),
                                            Widen32(p[3] + i), kOrOfAll));
  }
};

struct Fp8E4M3 : Fp8E4M3Bits {
  static constexpr std::size_t kStep = 64;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Store(p[0] + i, _mm512_and_si512(_mm512_srli_epi16(v, 3), Byte8(15)));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi16(v, 4), Byte8(8));
    Store(p[1] + i, _mm512_ternarylogic_epi32(sign, v, Byte8(7), kAOrBAndC));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i exponent = _mm512_and_si512(_mm512_slli_epi16(Load(p[0] + i), 3), Byte8(0xF8));
    const __m512i rest = Load(p[1] + i);
    const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(rest, 4), Byte8(0x80));
    const __m512i mantissa = _mm512_and_si512(rest, Byte8(7));
    Store(values, _mm512_ternarylogic_epi32(exponent, sign, mantissa, kOrOfAll));
  }
};

struct Fp8E5M2 : Fp8E5M2Bits {
  static constexpr std::size_t kStep = 64;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Store(p[0] + i, _mm512_and_si512(_mm512_srli_epi16(v, 2), Byte8(63)));
    Store(p[1] + i, _mm512_and_si512(v, Byte8(3)));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i high = _mm512_slli_epi16(Load(p[0] + i), 2);
    Store(values, _mm512_ternarylogic_epi32(Load(p[1] + i), high, Byte8(0xFC), kAOrBAndC));
  }
};

void Pack(unsigned bits, const std::uint8_t* in, std::size_t count, std::byte* out) {
  const auto pair_weights = Word16((1 << (8 + bits)) | 1);  // first + second · 2^bits
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i pairs = _mm512_maddubs_epi16(Load(in + i), pair_weights);
    if (bits == 4) {
      Narrow16(out, pairs);
      out += 32;
    } else {
      Narrow32(out, _mm512_madd_epi16(pairs, _mm512_set1_epi32((16 << 16) | 1)));
      out += 16;
    }
  }
  PackOneByOne(bits, in + i, count - i, out);
}

void Unpack(unsigned bits, const std::byte* in, std::size_t count, std::uint8_t* out) {
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    if (bits == 4) {
      const __m512i v = Widen16(in + i / 2);
      Store(out + i, _mm512_and_si512(_mm512_or_si512(v, _mm512_slli_epi16(v, 4)), Byte8(15)));
    } else {
      __m512i v = Widen32(in + i / 4);
      v = _mm512_or_si512(v, _mm512_slli_epi32(v, 12));
      v = _mm512_or_si512(v, _mm512_slli_epi32(v, 6));
      Store(out + i, _mm512_and_si512(v, Byte8(3)));
    }
  }
  UnpackOneByOne(bits, in + i * bits / 8, count - i, out + i);
}

}  // namespace

constinit const Kernels kAvx512Kernels{
    .name = "avx512",
    .split = {SplitRows<Bf16>, SplitRows<Fp16>, SplitRows<Fp32>, SplitRows<Fp8E4M3>,
              SplitRows<Fp8E5M2>},
    .merge = {MergeRows<Bf16>, MergeRows<Fp16>, MergeRows<Fp32>, MergeRows<Fp8E4M3>,
              MergeRows<Fp8E5M2>},
    .pack = Pack,
    .unpack = Unpack,
    .rans_encode = avx512::RansEncodeWide,
    .rans_decode = avx512::RansDecode,
    .lean_encode = avx512::LeanEncodeWide,
    .lean_decode = avx512::LeanDecode,
    .class_codes = avx512::ClassCodesWide,
    .synthesise = {avx512::SynthesiseBf16, avx512::SynthesiseFp16, avx512::SynthesiseFp32,
                   avx512::SynthesiseFp8E4M3, avx512::SynthesiseFp8E5M2},
    .correct = {avx512::CorrectBf16, avx512::CorrectFp16, avx512::CorrectFp32,
                avx512::CorrectFp8E4M3, avx512::CorrectFp8E5M2},
    .stream_rows = avx512::StreamRows,
    .stream_fence = avx512::StreamFence,
    .encode = &kAvx512Encode,
};

}  // namespace kdn::codec
