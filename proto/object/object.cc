#include "proto/object/object.h"

#include <string>

#include "proto/object/checksum.h"

namespace kdn {
namespace {

// A group that is not cut at multiples of its size would not fit other writers' tiles.
bool IsOneGroup(const Range& range, std::uint16_t group_size) {
  return range.first / group_size == (range.end() - 1) / group_size;
}

bool TileBelongs(const ObjectHeader& header, const TileCoordinates& at) {
  return header.part.layers.Contains(at.layers) && header.part.kv_heads.Contains(at.kv_heads) &&
         IsOneGroup(at.layers, header.layers_per_group) &&
         IsOneGroup(at.kv_heads, header.heads_per_group);
}

Status Wrong(Level level, std::string_view what) {
  return Status(Code::kDataLoss, std::string(LevelName(level)).append(": ").append(what));
}

Status VerifyTiles(const ObjectHeader& header, const SegmentIndex& index, ConstBytes tiles) {
  const ObjectTag tag = TagOf(header);
  for (std::size_t i = 0; i < index.tiles.size(); ++i) {
    const TileEntry& entry = index.tiles[i];
    if (!VerifyTile(tag, entry, tiles.subspan(entry.offset, entry.size_bytes))) {
      return Wrong(index.level, "checksum of tile " + std::to_string(i));
    }
  }
  return {};
}

// VerifySegment(), and the index when it holds.
Result<SegmentIndex> CheckSegment(const ObjectHeader& header, Level level, ConstBytes segment,
                                  bool index_only) {
  Result<SegmentIndex> index = DecodeIndex(segment, TagOf(header));
  if (!index) return std::unexpected(Wrong(level, index.error().message()));
  if (index->level != level) return std::unexpected(Wrong(level, "index of another level"));
  const std::size_t size_bytes = index->IndexBytes() + index->TileBytes();
  if (size_bytes != header.level_bytes[static_cast<std::size_t>(level)]) {
    return std::unexpected(Wrong(level, "index contradicts the header"));
  }
  for (const TileEntry& entry : index->tiles) {
    if (!TileBelongs(header, entry.at)) {
      return std::unexpected(Wrong(level, "tile of another part"));
    }
  }
  if (index_only) return index;
  if (segment.size() != size_bytes) return std::unexpected(Wrong(level, "segment is cut"));
  const Status tiles = VerifyTiles(header, *index, segment.subspan(index->IndexBytes()));
  if (!tiles.ok()) return std::unexpected(tiles);
  return index;
}

}  // namespace

Result<ObjectLayout> LayoutOf(ConstBytes object) {
  KDN_ASSIGN_OR_RETURN(const ObjectHeader header, DecodeHeader(object));
  ObjectLayout layout{.header = header, .size_bytes = kObjectHeaderBytes};
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<std::size_t>(info.level);
    if (!header.levels_encoded.Has(info.level)) continue;
    layout.offset[number] = layout.size_bytes;
    layout.size_bytes += header.level_bytes[number];
  }
  return layout;
}

Result<ObjectDigest> VerifyObject(ConstBytes object) {
  KDN_ASSIGN_OR_RETURN(const ObjectLayout layout, LayoutOf(object));
  const ObjectHeader& header = layout.header;
  std::vector<std::byte> checksums;
  ByteWriter out(checksums);
  out.Bytes(object.subspan(kObjectHeaderBytes - Checksum::kSize, Checksum::kSize));
  std::size_t verified = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    if (verified == object.size()) break;
    const auto number = static_cast<std::size_t>(info.level);
    const std::size_t size_bytes = header.level_bytes[number];
    if (size_bytes == 0) continue;
    if (object.size() - verified < size_bytes) {
      return std::unexpected(Wrong(info.level, "segment is cut"));
    }
    const ConstBytes segment = object.subspan(verified, size_bytes);
    KDN_ASSIGN_OR_RETURN(const SegmentIndex index,
                         CheckSegment(header, info.level, segment, /*index_only=*/false));
    out.Bytes(segment.subspan(index.IndexBytes() - kIndexTailBytes, kIndexTailBytes));
    verified += size_bytes;
  }
  if (verified != object.size()) return Error(Code::kDataLoss, "bytes after the last segment");
  if (verified == kObjectHeaderBytes) return Error(Code::kDataLoss, "no segments");
  return ObjectDigest{ChecksumOf(checksums)};
}

Status VerifySegment(const ObjectHeader& header, Level level, ConstBytes segment, bool index_only) {
  const Result<SegmentIndex> index = CheckSegment(header, level, segment, index_only);
  return index ? Status() : index.error();
}

}  // namespace kdn
