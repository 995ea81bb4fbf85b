// How a fuzzer's first bytes stand for the shape of a tile of byte planes.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <vector>

#include "base/bytes.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

inline constexpr std::size_t kPlanesShapeBytes = 4;

// Mostly small, for speed; runs of several blocks now and then. Requires: kPlanesShapeBytes.
[[nodiscard]] inline TileShape ReadPlanesShape(ConstBytes bytes) {
  const auto byte = [bytes](std::size_t i) { return static_cast<unsigned>(bytes[i]); };
  const unsigned strips = byte(1) % 8;
  return {.dtype = static_cast<DType>((byte(0) & 7) % 5),
          .layers = strips == 1 || strips == 3 ? 2U : 1U,
          .heads = strips == 2 || strips == 3 ? 2U : 1U,
          .tokens = 1 + (byte(2) < 253 ? byte(2) % 12 : byte(2)),
          .head_size = 1 + byte(3) % 40};
}
// Requires: a shape that ReadPlanesShape() gives, of at most 12 tokens.
[[nodiscard]] inline std::vector<std::byte> WritePlanesShape(const TileShape& shape) {
  return {static_cast<std::byte>(shape.dtype),
          static_cast<std::byte>(shape.layers - 1 + 2 * (shape.heads - 1)),
          static_cast<std::byte>(shape.tokens - 1), static_cast<std::byte>(shape.head_size - 1)};
}

}  // namespace kdn::codec
