// Compiled for AVX-512 with VBMI and VNNI, as avx512.cc is, and under the same rule: it calls no
// inline function that another file shares.
#include "codec/kernels/avx512_nested.h"

#include <immintrin.h>

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

}  // namespace kdn::codec::avx512
