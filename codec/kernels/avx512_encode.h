// The kernels of encoding for AVX-512 that other files' tables name.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {

std::size_t RansEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::uint16_t* words, std::uint32_t* states);

std::size_t LeanEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::byte* out, std::uint8_t* tail);

void LeanEncodeTwo(const RansEncodeTable& table, LeanPiece* two);

void Measure(const float* values, std::size_t tokens, std::size_t channels, float* mean,
             float* scale);
void CountBins(const float* values, std::size_t tokens, std::size_t channels, const float* mean,
               const float* scale, std::uint32_t* counts);
void CountSymbols(const std::uint8_t* symbols, std::size_t count, std::uint32_t* counts);

void SpreadsBf16(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                 std::size_t channels, std::int8_t* spreads);
void ResidualBf16(const std::byte* predicted, const std::byte* actual, std::size_t tokens,
                  std::size_t channels, const std::int8_t* spreads, ResidualOut& out);

}  // namespace kdn::codec::avx512
