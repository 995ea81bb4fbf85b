// One tile of byte planes without paged memory around it: contiguous values to bytes and back.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "codec/kernels/kernels.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

// The tile of values in tile order; empty if it would be larger than `size_max`.
[[nodiscard]] std::vector<std::byte> EncodeValues(const Kernels& kernels, const TileShape& shape,
                                                  ConstBytes values, std::size_t size_max);
[[nodiscard]] std::optional<std::vector<std::byte>> DecodeValues(const Kernels& kernels,
                                                                 const TileShape& shape,
                                                                 ConstBytes tile);

}  // namespace kdn::codec
