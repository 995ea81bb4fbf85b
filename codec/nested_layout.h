// Where the pieces of a kNested tile lie; the part that encoder and decoder share.
//
//   tile      = directory ‖ strip 0 ‖ strip 1 ‖ ...
//   directory = [draft: own codings] for each strip: [draft: exponents] size of each block
//   strip     = for each class that has begun: [if it begins here: its blocks] its planes
//
// The directory, each block and each plane have zeros to a multiple of 4.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/profile.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {

// Raw planes that the tile of `level` has of a class.
[[nodiscard]] inline std::size_t PlanesIn(const ComponentClass& one, std::size_t level) {
  if (level == one.start) return one.planes;
  return level > one.start ? 1 : 0;
}
// A tile of a level at which no class has begun: so many zeros, as no tile is of no bytes.
inline constexpr std::size_t kEmptyTileBytes = 16;

// Blocks of the next class begin where a machine can load their states.
[[nodiscard]] inline std::size_t PlaneBytes(const ComponentClass& one, std::size_t tokens) {
  return RoundUp(tokens * one.width / 8, kBlockAlignment);
}
[[nodiscard]] inline bool BeginsAt(const ComponentClass& one, std::size_t level) {
  return one.start == level;
}

// What a tile that brings its own codings says, and no more: one table, one class a strip, means
// and scales.
[[nodiscard]] SymbolTable OwnTable(const RansModel& model);
// The table's symbols as the directory has them; false for what no encoder writes.
[[nodiscard]] bool ReadOwnModel(ByteReader& in, RansModel& model);
// What is further out than this is coded with an exponent.
[[nodiscard]] float ClipOf(const ComponentClass& one, const SymbolCoder& coder);
// Means and scales are within this, or the tile is refused.
inline constexpr float kOwnNumberMax = 1e18F;
[[nodiscard]] StripProfile OwnStrip(std::uint32_t head_size);

}  // namespace kdn::codec
