// The segments of an object of several levels. They follow each other in the object, but the tiles
// of all levels of one place are made together: each level's wait in a buffer of the scratch.
//
// Thread-safety: a value that borrows; scratch belongs to it while it lives.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/codec_scratch.h"
#include "codec/lossy_tile.h"
#include "codec/tile_memory.h"
#include "codec/tile_plan.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::codec {

struct PlannedTile {
  TileCoordinates at;
  TilePlace place;
};

class EncodedLevels {
 public:
  // Encodes the levels that the header names, draft and what follows it without a gap. `tiles`: of
  // each place, in the order of an index. Requires: the memory holds them all; a profile is
  // FinishForEncoding().
  EncodedLevels(const LossyContext& context, const ObjectHeader& header, const Memory& memory,
                std::span<const PlannedTile> tiles, CodecScratch& scratch);

  [[nodiscard]] std::size_t ObjectBytes() const;
  // Header and segments to the front of `out`, which has room for ObjectBytes().
  void CopyTo(MutableBytes out) const;
  void AppendTo(std::vector<std::byte>& object) const;

 private:
  struct Segment {
    SegmentIndex index;
    std::vector<std::size_t> begins;  // of each tile in its level's buffer
  };
  void ForEachPiece(const auto& append) const;
  void AddPlace(const LossyContext& context, const PlannedTile& tile, const Memory& memory);

  const ObjectTag tag_;
  ObjectHeader header_;
  CodecScratch& scratch_;
  std::array<Segment, kLevelCount> segments_;
};

}  // namespace kdn::codec
