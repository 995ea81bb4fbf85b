// Tells before a tile is taken apart whether that would be in vain: bytes that were compressed or
// drawn at random are stored raw.
//
// Thread-safety: pure functions.
#pragma once

#include "codec/kernels/kernels.h"
#include "codec/tile_memory.h"
#include "codec/tile_plan.h"

namespace kdn::codec {

// Whether samples of every strip are noise in every plane (IsNoise()); false for tiles of short
// strips, which are soon counted. Requires: `memory` holds the tile at these coordinates, of as
// many tokens as memory.place.
[[nodiscard]] bool IsNoiseTile(const Kernels& kernels, const Memory& memory,
                               const TileCoordinates& at, const TilePlace& place);

}  // namespace kdn::codec
