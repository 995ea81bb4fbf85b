// A segment: the bytes that one level adds. An index, then the tiles it lists, one after the other,
// layer-group-major, so that an engine can start on the first layers while the rest is in flight.
//
//   segment = index ‖ tile 0 ‖ tile 1 ‖ ...
//   index   = 32 bytes ‖ tile_count entries of 40 bytes ‖ checksum
//
// The checksum is over all before it and the object's tag.
//
// Thread-safety: pure functions and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "proto/object/header.h"

namespace kdn {

inline constexpr std::size_t kIndexHeadBytes = 32;
inline constexpr std::size_t kTileEntryBytes = 40;
inline constexpr std::size_t kIndexTailBytes = Checksum::kSize;

// How a tile's bytes are coded. A number is format: never reuse one. docs/format.md lists them.
enum class TileScheme : std::uint8_t {
  kRaw = 0,         // the values as they are, little-endian
  kBytePlanes = 1,  // exact alone: planes of bytes, each raw, constant or rANS-coded
  // 2 and 3 were what 4 and 5 are, with other blocks, and never released.
  kNested = 4,    // a lossy level: bins of components, or what splits a coarser level's bins
  kResidual = 5,  // exact on top of fine
};
[[nodiscard]] bool IsTileScheme(TileScheme scheme);

// What a tile is: the smallest unit that is read and verified alone.
struct TileCoordinates {
  Level level = Level::kExact;
  Plane plane = Plane::kK;
  Range layers;    // one layer group; never crosses a KV group
  Range kv_heads;  // one head group

  friend bool operator==(const TileCoordinates&, const TileCoordinates&) = default;
};

struct TileEntry {
  TileCoordinates at;
  TileScheme scheme = TileScheme::kRaw;
  std::uint32_t offset = 0;  // from the segment's first tile; entries follow without gaps
  std::uint32_t size_bytes = 0;
  Checksum checksum;  // TileChecksum()

  friend bool operator==(const TileEntry&, const TileEntry&) = default;
};

// What binds indices and tiles to their object: a checksum over put id, chunk key and part number.
// A put id alone does not do: one put may store many chunks.
using ObjectTag = OpaqueId<struct ObjectTagTag, 16>;
[[nodiscard]] ObjectTag TagOf(const ObjectHeader& header);

// Covers the object's tag, coordinates, scheme and bytes: a tile that is intact but from elsewhere
// fails.
[[nodiscard]] Checksum TileChecksum(const ObjectTag& tag, const TileCoordinates& at,
                                    TileScheme scheme, ConstBytes bytes);
[[nodiscard]] bool VerifyTile(const ObjectTag& tag, const TileEntry& entry, ConstBytes bytes);

// One entry, 40 bytes, as it stands in an index and in a read's answer.
void EncodeTileEntry(const TileEntry& entry, ByteWriter& out);
// Fails `in` on a field out of bounds.
[[nodiscard]] TileEntry DecodeTileEntry(ByteReader& in);

struct SegmentIndex {
  Level level = Level::kExact;
  std::vector<TileEntry> tiles;

  [[nodiscard]] std::size_t IndexBytes() const {
    return kIndexHeadBytes + tiles.size() * kTileEntryBytes + kIndexTailBytes;
  }
  [[nodiscard]] std::size_t TileBytes() const {
    return tiles.empty() ? 0 : std::size_t{tiles.back().offset} + tiles.back().size_bytes;
  }
};

[[nodiscard]] std::vector<std::byte> EncodeIndex(const SegmentIndex& index, const ObjectTag& tag);

// Reads the index at the front of `segment` (which may end after the index) and checks checksum,
// tag, bounds, order and contiguity. kDataLoss otherwise. No allocation before the size that the
// head declares is known to be there.
[[nodiscard]] Result<SegmentIndex> DecodeIndex(ConstBytes segment, const ObjectTag& tag);

// How many tiles the index says it has that begins with these kIndexHeadBytes; nothing if they
// begin none. Not to be believed before DecodeIndex() has checked all of it.
[[nodiscard]] std::optional<std::uint32_t> PeekTileCount(ConstBytes head);

// The layer groups of a part, in order: runs of at most layers_per_group consecutive layers that do
// not cross a KV group. Head groups alike. Both cut at multiples of the group size in absolute
// coordinates, so that parts written by different ranks have the borders that one writer would use.
[[nodiscard]] std::vector<Range> LayerGroups(const ModelSpec& spec, const Range& layers,
                                             std::uint16_t layers_per_group);
[[nodiscard]] std::vector<Range> HeadGroups(const Range& kv_heads, std::uint16_t heads_per_group);

}  // namespace kdn
