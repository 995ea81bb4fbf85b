// The tiles of tests/golden/codec: values from which they were made, and ways to break one.
//
// Thread-safety: pure functions.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "codec/tile_shape.h"

namespace kdn::codec {

// Four strips of 700 values, so that runs end in padding: Gaussian, constant, mostly zeros, random.
[[nodiscard]] TileShape GoldenShape(DType dtype);
[[nodiscard]] std::vector<std::byte> GoldenValues(DType dtype);
[[nodiscard]] std::string GoldenName(DType dtype);  // "bf16.bin"

struct GoldenDamage {
  std::string name;  // "broken_padding.bin"
  std::function<void(std::vector<std::byte>&)> apply;
};

// Ways to break the golden bf16 tile so that its directory or its streams must be refused.
[[nodiscard]] std::vector<GoldenDamage> GoldenDamages();

}  // namespace kdn::codec
