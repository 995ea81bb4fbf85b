#include "codec/encoded_levels.h"

#include <cstdint>
#include <cstring>
#include <numeric>

namespace kdn::codec {

EncodedLevels::EncodedLevels(const LossyContext& context, const ObjectHeader& header,
                             const Memory& memory, std::span<const PlannedTile> tiles,
                             CodecScratch& scratch)
    : tag_(TagOf(header)), header_(header), scratch_(scratch) {
  for (AlignedVector<std::byte>& level : scratch.levels) level.clear();
  for (const PlannedTile& tile : tiles) AddPlace(context, tile, memory);
  header_.flags = static_cast<std::uint8_t>(header.flags & ~kFlagExactAlone);
  header_.level_bytes = {};
  for (const LevelInfo& info : Levels()) {
    if (!header.levels_encoded.Has(info.level)) continue;
    const auto l = static_cast<std::size_t>(info.level);
    SegmentIndex& index = segments_[l].index;
    index.level = info.level;
    header_.level_bytes[l] = static_cast<std::uint32_t>(index.IndexBytes() + index.TileBytes());
  }
}

void EncodedLevels::AddPlace(const LossyContext& context, const PlannedTile& tile,
                             const Memory& memory) {
  const TileMemory values(memory, tile.place, tile.at.kv_heads);
  const LossyExtents extents =
      EncodeLossyTile(context, {tile.at, tile.place, header_.first_position}, values,
                      header_.levels_encoded, scratch_);
  for (const LevelInfo& info : Levels()) {
    if (!header_.levels_encoded.Has(info.level)) continue;
    const auto l = static_cast<std::size_t>(info.level);
    const TileExtent& extent = extents.tiles[l];
    TileEntry entry;
    entry.at = tile.at;
    entry.at.level = info.level;
    entry.scheme = info.level == Level::kExact ? extents.exact : TileScheme::kNested;
    entry.offset = static_cast<std::uint32_t>(segments_[l].index.TileBytes());
    entry.size_bytes = static_cast<std::uint32_t>(extent.bytes);
    entry.checksum = TileChecksum(tag_, entry.at, entry.scheme,
                                  {scratch_.levels[l].data() + extent.begin, extent.bytes});
    segments_[l].index.tiles.push_back(entry);
    segments_[l].begins.push_back(extent.begin);
  }
}

std::size_t EncodedLevels::ObjectBytes() const {
  return std::accumulate(header_.level_bytes.begin(), header_.level_bytes.end(),
                         std::size_t{kObjectHeaderBytes});
}

// append(begin, bytes) of the object's pieces in their order.
void EncodedLevels::ForEachPiece(const auto& append) const {
  const HeaderBytes front = EncodeHeader(header_);
  append(front.data(), front.size());
  for (std::size_t l = 0; l < kLevelCount; ++l) {
    const Segment& segment = segments_[l];
    if (segment.begins.empty()) continue;
    const std::vector<std::byte> index = EncodeIndex(segment.index, tag_);
    append(index.data(), index.size());
    for (std::size_t i = 0; i < segment.begins.size(); ++i) {
      append(scratch_.levels[l].data() + segment.begins[i], segment.index.tiles[i].size_bytes);
    }
  }
}

void EncodedLevels::CopyTo(MutableBytes out) const {
  std::byte* at = out.data();
  ForEachPiece([&at](const std::byte* begin, std::size_t bytes) {
    std::memcpy(at, begin, bytes);
    at += bytes;
  });
}

void EncodedLevels::AppendTo(std::vector<std::byte>& object) const {
  object.reserve(object.size() + ObjectBytes());
  ForEachPiece([&object](const std::byte* begin, std::size_t bytes) {
    object.insert(object.end(), begin, begin + bytes);
  });
}

}  // namespace kdn::codec
