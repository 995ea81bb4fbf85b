// The kernels of the lossy levels for AVX2, in a file of their own: avx2.cc names them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec::avx2 {

void ClassCodesWide(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                    std::size_t stride);
void SynthesiseBf16(const Synthesis& synthesis, const CodeRows& codes, std::byte* values,
                    const std::ptrdiff_t* rows);
void SynthesiseFp16(const Synthesis& synthesis, const CodeRows& codes, std::byte* values,
                    const std::ptrdiff_t* rows);
void SynthesiseFp32(const Synthesis& synthesis, const CodeRows& codes, std::byte* values,
                    const std::ptrdiff_t* rows);
void SynthesiseFp8E4M3(const Synthesis& synthesis, const CodeRows& codes, std::byte* values,
                       const std::ptrdiff_t* rows);
void SynthesiseFp8E5M2(const Synthesis& synthesis, const CodeRows& codes, std::byte* values,
                       const std::ptrdiff_t* rows);
void StreamRows(const std::byte* rows, std::size_t row_bytes, std::size_t count, std::byte* to,
                const std::ptrdiff_t* at);
void StreamFence();

}  // namespace kdn::codec::avx2
