// What DecodePlanner works with while it adds an object: seen by its own files alone.
//
// Thread-safety: values that borrow.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "codec/lane/decode_planner.h"
#include "codec/lane/residual_directory.h"
#include "codec/tile_memory.h"

namespace kdn::codec {

// An object, and where it goes.
struct DecodePlanner::Target {
  const ObjectHeader& header;
  Memory memory;
  const LaunchProfile* profile;
  const RotaryAngles* angles;  // null: keys are coded as they are
};

// Offsets of what has been appended for this object already; kNoOffset: not yet.
struct DecodePlanner::Shared {
  std::uint32_t turns = kNoOffset;  // of lossy levels
  std::uint32_t turn = kNoOffset;   // of exact values, all by the same
  struct Rows {
    std::uint32_t offset = kNoOffset;
    bool aligned = false;
  };
  std::vector<std::array<Rows, 2>> rows;  // by group and plane
  // Of exact on top of fine: rows of the workspace, by head size; and what fine's keys are turned
  // by there, where the chunk was coded.
  std::map<std::size_t, std::uint32_t> kept_rows;
  std::unique_ptr<Shared> coded;
};

// One place while it is planned.
struct DecodePlanner::PlaceWork {
  std::span<const LaunchTile> tiles;
  TilePlace tile;
  Range heads;
  Range layers;
  bool turned = false;
  std::optional<NestedDirectory> nested;
  std::optional<PlanesDirectory> planes;
  std::optional<ResidualDirectory> residual;
  [[nodiscard]] const LaunchTile& last() const { return tiles.back(); }
  [[nodiscard]] LaneScheme scheme() const {
    if (last().entry.scheme == TileScheme::kRaw) return LaneScheme::kRaw;
    return planes ? LaneScheme::kBytePlanes : LaneScheme::kNested;
  }
};

}  // namespace kdn::codec
