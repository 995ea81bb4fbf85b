// Kernels for AVX-512 in files of their own: avx512.cc names them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {

bool RansDecode(const RansBlock* blocks, std::size_t block_count);
bool LeanDecode(const RansBlock* blocks, std::size_t block_count);
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
bool CorrectBf16(const Correction& correction, std::byte* values);
bool CorrectFp16(const Correction& correction, std::byte* values);
bool CorrectFp32(const Correction& correction, std::byte* values);
bool CorrectFp8E4M3(const Correction& correction, std::byte* values);
bool CorrectFp8E5M2(const Correction& correction, std::byte* values);
void StreamRows(const std::byte* rows, std::size_t row_bytes, std::size_t count, std::byte* to,
                const std::ptrdiff_t* at);
void StreamFence();

}  // namespace kdn::codec::avx512
