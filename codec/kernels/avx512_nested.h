// The kernels of the lossy levels for AVX-512, in a file of their own: avx512.cc names them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {

void ClassCodesWide(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                    std::size_t stride);
void SynthesiseBf16(const Synthesis& synthesis, const std::int8_t* codes, std::size_t code_stride,
                    const std::uint8_t* exponents, const float* turns, std::size_t tokens,
                    std::byte* values, std::ptrdiff_t value_stride);

}  // namespace kdn::codec::avx512
