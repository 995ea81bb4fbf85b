// Checks objects and segments where they lie, in runs of pages: index by index and tile by tile, so
// that only what crosses two runs is copied. proto/object has the rules; the answers here equal
// those of VerifyObject() and VerifySegment() over the same bytes in one piece.
//
// Thread-safety: pure functions over blocks that nobody changes meanwhile.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "proto/object/header.h"
#include "proto/object/object.h"
#include "proto/object/segment.h"
#include "storage/arriving_sums.h"
#include "storage/block.h"

namespace kdn::storage {

// The index of the segment that begins at `offset` of `block`, checked against the header, and
// unless `index_only` every tile: by its sum in `sums`, if that has it. kDataLoss says what is
// wrong.
[[nodiscard]] Result<SegmentIndex> CheckSegment(const ObjectHeader& header, Level level,
                                                const Block& block, std::size_t offset,
                                                bool index_only,
                                                const ArrivingSums* sums = nullptr);

// A whole object, which may end after any of its segments.
struct CheckedObject {
  ObjectHeader header;
  ObjectDigest digest;
  LevelSet levels;
};
[[nodiscard]] Result<CheckedObject> CheckObject(const Block& block,
                                                const ArrivingSums* sums = nullptr);

}  // namespace kdn::storage
