// Puts checksums of stored bytes right again, so that mutations come past them and the checks
// behind are tried too.
//
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "proto/object/checksum.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::test {

inline void RepairHeader(MutableBytes header) {
  constexpr std::size_t kChecked = kObjectHeaderBytes - Checksum::kSize;
  const Checksum checksum = ChecksumOf(header.first(kChecked));
  std::copy(checksum.bytes.begin(), checksum.bytes.end(), header.begin() + kChecked);
}

// The checksum of the index at the front of `segment`, if it has as many entries as it says.
inline void RepairIndex(MutableBytes segment, const ObjectTag& tag) {
  if (segment.size() < kIndexHeadBytes) return;
  ByteReader in(segment.subspan(8));
  const std::size_t checked = kIndexHeadBytes + in.Integer<std::uint32_t>() * kTileEntryBytes;
  if (segment.size() < checked + kIndexTailBytes) return;
  std::array<std::byte, ObjectTag::kSize + Checksum::kSize> block;
  const Checksum inner = ChecksumOf(segment.first(checked));
  std::memcpy(block.data(), tag.bytes.data(), ObjectTag::kSize);
  std::memcpy(block.data() + ObjectTag::kSize, inner.bytes.data(), Checksum::kSize);
  const Checksum checksum = ChecksumOf(block);
  std::memcpy(segment.data() + checked, checksum.bytes.data(), Checksum::kSize);
}

// The checksums of all tiles that the index at the front of `segment` names, then its own.
inline void RepairTiles(MutableBytes segment, const ObjectTag& tag) {
  RepairIndex(segment, tag);
  Result<SegmentIndex> index = DecodeIndex(segment, tag);
  if (!index || segment.size() < index->IndexBytes() + index->TileBytes()) return;
  const ConstBytes tiles = segment.subspan(index->IndexBytes());
  for (TileEntry& tile : index->tiles) {
    tile.checksum =
        TileChecksum(tag, tile.at, tile.scheme, tiles.subspan(tile.offset, tile.size_bytes));
  }
  const std::vector<std::byte> encoded = EncodeIndex(*index, tag);
  std::copy(encoded.begin(), encoded.end(), segment.begin());
}

}  // namespace kdn::test
