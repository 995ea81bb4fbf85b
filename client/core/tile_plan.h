// Which tiles a read must bring, known from the object's header alone. A node that leaves one out,
// adds one or changes its coordinates is caught before anything is decoded.
//
// Thread-safety: pure functions.
#pragma once

#include <span>
#include <vector>

#include "proto/object/header.h"
#include "proto/object/model_spec.h"
#include "proto/object/segment.h"

namespace kdn::client {

// Indices into a read's entries that together decode one (layer group, head group, plane),
// coarsest level first.
struct TileJob {
  std::vector<std::uint32_t> entries;
};

// How many entries a read of these levels, layers and heads brings of this object.
[[nodiscard]] std::size_t ExpectedEntryCount(const ModelSpec& spec, const ObjectHeader& header,
                                             LevelSet levels, const Range& layers,
                                             const Range& kv_heads);

// Groups `entries` into jobs, in their order. kDataLoss unless they are exactly the tiles that
// intersect `layers` and `kv_heads`, each once in every level of `levels`.
[[nodiscard]] Result<std::vector<TileJob>> PlanTiles(const ModelSpec& spec,
                                                     const ObjectHeader& header, LevelSet levels,
                                                     const Range& layers, const Range& kv_heads,
                                                     std::span<const TileEntry> entries);

}  // namespace kdn::client
