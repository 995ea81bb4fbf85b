// The small model whose profiles are fuzzed.
//
// Thread-safety: pure functions.
#pragma once

#include "tests/codec/one_tile.h"

namespace kdn::codec {

// One layer and head of 32 channels, 6 tokens. Its spec is the model's, whatever the plane.
[[nodiscard]] inline TileOptions ProfileTile(Plane plane) {
  return {.tokens = 6, .head_size = 32, .plane = plane, .pairing = RotaryPairing::kNeox};
}

}  // namespace kdn::codec
