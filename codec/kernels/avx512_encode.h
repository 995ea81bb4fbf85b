// The kernels of encoding for AVX-512, in files of their own: avx512.cc and encode_kernels.h name
// them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {

std::size_t RansEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::uint16_t* words, std::uint32_t* states);

}  // namespace kdn::codec::avx512
