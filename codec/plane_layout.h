// Into which planes the bits of a value are cut, per type. Exponents compress, mantissas do not, so
// each has a plane of its own (docs/codec.md). The layout is format.
//
// Knows nothing of tiles. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <span>

#include "proto/object/model_spec.h"

namespace kdn::codec {

struct PlaneLayout {
  unsigned bits = 8;      // a symbol is below 2^bits
  unsigned raw_bits = 8;  // that one symbol takes where the plane is stored raw: 8, 4 or 2
};

// In tile order; the kernels' split and merge know the same order.
[[nodiscard]] std::span<const PlaneLayout> PlanesOf(DType dtype);

}  // namespace kdn::codec
