// Tiles of several levels and the paged memory that their values come from and go to: draft,
// standard, fine, and exact on top of them.
//
// Thread-safety: values that borrow; scratch belongs to the call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "codec/nested.h"
#include "codec/object_codec.h"
#include "codec/profile.h"
#include "codec/residual.h"
#include "codec/rotary.h"
#include "codec/tile_memory.h"
#include "codec/tile_plan.h"

namespace kdn::codec {

// What of a model and an object a tile's coding depends on.
struct LossyContext {
  const Kernels& kernels;
  const ModelSpec& spec;
  const RotaryAngles* angles = nullptr;  // null: keys are coded as they are
  const Profile* profile = nullptr;      // null: each tile brings its own codings
};

struct LossyTile {
  const TileCoordinates& at;
  const TilePlace& place;
  std::uint64_t first_position = 0;  // of the chunk when it was prefilled
};

// Where the tile of each level lies in scratch.levels[level], and by what scheme exact is there.
struct LossyExtents {
  std::array<TileExtent, kLevelCount> tiles;
  TileScheme exact = TileScheme::kNested;
};

// Appends the tile of each of the levels to scratch.levels[level]; the one before may end a few
// bytes earlier. `levels`: draft and what follows it without a gap. Requires: a profile that is
// FinishForEncoding().
LossyExtents EncodeLossyTile(const LossyContext& context, const LossyTile& tile,
                             const TileMemory& memory, LevelSet levels, CodecScratch& scratch);

// Decodes the strips that the memory holds, from the tiles of draft and what follows it, to
// positions moved by `moved`. kDataLoss: nothing has been written.
Status DecodeLossyTile(const LossyContext& context, const LossyTile& tile,
                       std::span<const TileBytes> tiles, std::int64_t moved,
                       const TileMemory& memory, CodecScratch& scratch);

// The tile's values as floats in value order, keys freed of their position.
void ReadUnturned(const LossyContext& context, const LossyTile& tile, const TileMemory& memory,
                  std::vector<float>& values);

// Turns values in value order, as they are, by `moved` positions.
void TurnValues(const LossyContext& context, const LossyTile& tile, std::int64_t moved,
                MutableBytes values);

}  // namespace kdn::codec
