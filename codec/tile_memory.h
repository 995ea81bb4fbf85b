// One tile's values in an engine's paged memory.
//
// Thread-safety: values that borrow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "codec/paged_rows.h"
#include "codec/tile_plan.h"

namespace kdn::codec {

// An engine's memory and where the chunk stands in it.
struct Memory {
  const PagedKv& kv;
  const BlockTables& blocks;
  const ChunkPlace& place;
};

class TileMemory {
 public:
  // `heads`: the tile's. All arguments outlive this object.
  TileMemory(const Memory& memory, const TilePlace& tile, const Range& heads)
      : pool_(memory.kv.pools[tile.group]),
        map_(pool_.planes[tile.plane]),
        blocks_(memory.blocks.tables[tile.group]),
        place_(memory.place),
        tile_(tile),
        heads_(heads) {}

  [[nodiscard]] bool Holds(std::size_t strip) const {
    const std::uint32_t head = HeadOf(strip);
    return head >= pool_.first_head && head - pool_.first_head < pool_.head_count &&
           LayerOf(strip) < map_.base.size() && map_.base[LayerOf(strip)] != nullptr;
  }
  // Requires: Holds(strip).
  [[nodiscard]] StripRows Rows(std::size_t strip) const {
    const auto head = static_cast<std::ptrdiff_t>(HeadOf(strip)) - pool_.first_head;
    return {pool_, map_, blocks_, place_, map_.base[LayerOf(strip)] + head * map_.head_stride};
  }
  [[nodiscard]] Status Check() const { return CheckPlace(pool_, blocks_, place_); }
  // How many of the strips are held.
  [[nodiscard]] std::size_t HeldStrips() const {
    std::size_t held = 0;
    for (std::size_t s = 0; s < tile_.shape.strips(); ++s) held += Holds(s) ? 1 : 0;
    return held;
  }
  [[nodiscard]] RowFormat format() const {
    return {.dtype = tile_.shape.dtype, .head_size = tile_.shape.head_size};
  }
  // Tokens whose values lie here, the chunk's first ones.
  [[nodiscard]] std::uint32_t tokens() const { return place_.token_count; }
  [[nodiscard]] std::uint32_t HeadOf(std::size_t strip) const {
    return heads_.first + static_cast<std::uint32_t>(strip % tile_.shape.heads);
  }

 private:
  [[nodiscard]] std::size_t LayerOf(std::size_t strip) const {
    return tile_.first_layer + strip / tile_.shape.heads;
  }

  const KvPool& pool_;
  const PlaneMap& map_;
  std::span<const std::uint32_t> blocks_;
  const ChunkPlace& place_;
  const TilePlace& tile_;
  Range heads_;
};

}  // namespace kdn::codec
