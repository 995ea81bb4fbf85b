// Which tiles a part consists of, and what a tile's coordinates mean for a model: its shape, its KV
// group, the plane map that holds its values.
//
// Knows nothing of bytes. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "codec/tile_shape.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::codec {

// A tile in terms of the model spec and of PagedKv.
struct TilePlace {
  TileShape shape;
  std::size_t group = 0;        // index into ModelSpec::groups and PagedKv::pools
  std::size_t plane = 0;        // index into KvPool::planes
  std::size_t first_layer = 0;  // index into KvGroup::layers and PlaneMap::base
};

// kInvalidArgument unless the header's part, tile grouping, type and token count are possible for
// this model and within base/limits.h.
[[nodiscard]] Status CheckHeader(const ModelSpec& spec, const ObjectHeader& header);

// How many planes a group's layers have, in PagedKv's order.
[[nodiscard]] std::size_t PlaneCountOf(const KvGroup& group);

// The tiles of one level of a part in segment order: layer group by layer group, head group by head
// group, plane by plane. A KV group with fewer heads than the part names contributes those it has.
// Requires: CheckHeader().
[[nodiscard]] std::vector<TileCoordinates> TilesOf(const ModelSpec& spec,
                                                   const ObjectHeader& header, Level level);

// kDataLoss unless `at` names values that the part has; coordinates may come from anywhere.
// Requires: CheckHeader().
[[nodiscard]] Result<TilePlace> PlaceOf(const ModelSpec& spec, const ObjectHeader& header,
                                        const TileCoordinates& at);

}  // namespace kdn::codec
