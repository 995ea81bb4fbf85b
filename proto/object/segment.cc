#include "proto/object/segment.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "base/limits.h"
#include "proto/object/checksum.h"
#include "proto/object/checksum_stream.h"

namespace kdn {
namespace {

constexpr std::uint32_t kIndexMagic = 0x58444E4B;  // "KNDX"
constexpr std::size_t kTileHeadBytes = 16;         // of an entry: what its checksum covers

using TileHead = std::array<std::byte, kTileHeadBytes>;

void Put16(TileHead& head, std::size_t at, std::uint16_t value) {
  head[at] = static_cast<std::byte>(value & 0xFF);
  head[at + 1] = static_cast<std::byte>(value >> 8);
}

TileHead EncodeTileHead(const TileCoordinates& at, TileScheme scheme, std::uint32_t size_bytes) {
  TileHead head{};
  Put16(head, 0, at.layers.first);
  Put16(head, 2, at.layers.count);
  Put16(head, 4, at.kv_heads.first);
  Put16(head, 6, at.kv_heads.count);
  head[8] = static_cast<std::byte>(at.plane);
  head[9] = static_cast<std::byte>(scheme);
  head[10] = static_cast<std::byte>(at.level);
  Put16(head, 12, static_cast<std::uint16_t>(size_bytes & 0xFFFF));
  Put16(head, 14, static_cast<std::uint16_t>(size_bytes >> 16));
  return head;
}

// Two steps, so that the bulk is hashed in one shot, or as it comes.
Checksum BoundChecksum(const ObjectTag& tag, ConstBytes head, const Checksum& inner) {
  std::array<std::byte, ObjectTag::kSize + kTileHeadBytes + Checksum::kSize> block;
  auto end = std::copy(tag.bytes.begin(), tag.bytes.end(), block.begin());
  end = std::copy(head.begin(), head.end(), end);
  end = std::copy(inner.bytes.begin(), inner.bytes.end(), end);
  return ChecksumOf({block.begin(), end});
}

Checksum IndexChecksum(const ObjectTag& tag, ConstBytes head_and_entries) {
  return BoundChecksum(tag, {}, ChecksumOf(head_and_entries));
}

// Layer-group-major, then by head group, then by plane; groups are equal or disjoint.
bool MayFollow(const TileCoordinates& before, const TileCoordinates& after) {
  if (before.layers != after.layers) return after.layers.first >= before.layers.end();
  if (before.kv_heads != after.kv_heads) return after.kv_heads.first >= before.kv_heads.end();
  return before.plane < after.plane;
}

// The entries of an index whose checksum holds. kDataLoss says which entry is wrong.
Status ReadEntries(ByteReader& in, std::uint32_t tile_count, SegmentIndex& index) {
  index.tiles.reserve(tile_count);
  std::uint64_t offset = 0;
  for (std::uint32_t i = 0; i < tile_count; ++i) {
    const TileEntry entry = DecodeTileEntry(in);
    const char* wrong = nullptr;
    if (!in.ok()) {
      wrong = " is out of bounds";
    } else if (entry.at.level != index.level) {
      wrong = " is of another level";
    } else if (entry.offset != offset) {
      wrong = " does not follow the one before";
    } else if (!index.tiles.empty() && !MayFollow(index.tiles.back().at, entry.at)) {
      wrong = " is out of order";
    }
    if (wrong != nullptr) {
      return Status(Code::kDataLoss, "tile " + std::to_string(i) + wrong);
    }
    offset += entry.size_bytes;
    if (offset > limits::kSegmentBytesMax) return Status(Code::kDataLoss, "segment is too large");
    index.tiles.push_back(entry);
  }
  return {};
}

}  // namespace

ObjectTag TagOf(const ObjectHeader& header) {
  std::array<std::byte, PutId::kSize + ChunkKey::kSize + 2> block;
  std::memcpy(block.data(), header.put_id.bytes.data(), PutId::kSize);
  std::memcpy(block.data() + PutId::kSize, header.key.bytes.data(), ChunkKey::kSize);
  block[block.size() - 2] = static_cast<std::byte>(header.part.number);
  block[block.size() - 1] = static_cast<std::byte>(header.part.number >> 8);
  return {ChecksumOf(block).bytes};
}

Checksum TileChecksum(const ObjectTag& tag, const TileCoordinates& at, TileScheme scheme,
                      ConstBytes bytes) {
  const auto size_bytes = static_cast<std::uint32_t>(bytes.size());
  return BoundChecksum(tag, EncodeTileHead(at, scheme, size_bytes), ChecksumOf(bytes));
}

bool VerifyTile(const ObjectTag& tag, const TileEntry& entry, ConstBytes bytes) {
  return bytes.size() == entry.size_bytes &&
         TileChecksum(tag, entry.at, entry.scheme, bytes) == entry.checksum;
}

bool VerifyTileSum(const ObjectTag& tag, const TileEntry& entry, const Checksum& bytes) {
  return BoundChecksum(tag, EncodeTileHead(entry.at, entry.scheme, entry.size_bytes), bytes) ==
         entry.checksum;
}

void EncodeTileEntry(const TileEntry& entry, ByteWriter& out) {
  out.Bytes(EncodeTileHead(entry.at, entry.scheme, entry.size_bytes));
  out.Integer(entry.offset);
  out.Zeros(4);
  out.Id(entry.checksum);
}

bool IsTileScheme(TileScheme scheme) {
  switch (scheme) {
    case TileScheme::kRaw:
    case TileScheme::kBytePlanes:
    case TileScheme::kNested:
    case TileScheme::kResidual:
      return true;
  }
  return false;
}

TileEntry DecodeTileEntry(ByteReader& in) {
  TileEntry entry;
  entry.at.layers.first = in.Integer<std::uint16_t>();
  entry.at.layers.count = in.Integer<std::uint16_t>();
  entry.at.kv_heads.first = in.Integer<std::uint16_t>();
  entry.at.kv_heads.count = in.Integer<std::uint16_t>();
  entry.at.plane = in.Integer<Plane>();
  entry.scheme = in.Integer<TileScheme>();
  entry.at.level = in.Integer<Level>();
  in.Zeros(1);
  entry.size_bytes = in.Integer<std::uint32_t>();
  entry.offset = in.Integer<std::uint32_t>();
  in.Zeros(4);
  entry.checksum = in.OpaqueId<Checksum>();

  const TileCoordinates& at = entry.at;
  const bool valid =
      at.layers.count > 0 && at.layers.end() <= limits::kLayersMax && at.kv_heads.count > 0 &&
      at.kv_heads.end() <= limits::kKvHeadsMax && at.plane <= Plane::kState &&
      IsTileScheme(entry.scheme) && at.level <= Level::kExact && entry.size_bytes > 0 &&
      entry.size_bytes <= limits::kTileBytesMax && entry.offset <= limits::kSegmentBytesMax;
  if (!valid) in.Fail();
  return entry;
}

std::vector<std::byte> EncodeIndex(const SegmentIndex& index, const ObjectTag& tag) {
  std::vector<std::byte> bytes;
  bytes.reserve(index.IndexBytes());
  ByteWriter out(bytes);
  out.Integer(kIndexMagic);
  out.Integer(index.level);
  out.Zeros(3);
  out.Integer(static_cast<std::uint32_t>(index.tiles.size()));
  out.Zeros(4);
  out.Integer(static_cast<std::uint64_t>(index.TileBytes()));
  out.Zeros(8);
  for (const TileEntry& entry : index.tiles) EncodeTileEntry(entry, out);
  out.Id(IndexChecksum(tag, bytes));
  return bytes;
}

std::optional<std::uint32_t> PeekTileCount(ConstBytes head) {
  ByteReader in(head);
  const auto magic = in.Integer<std::uint32_t>();
  const auto level = in.Integer<Level>();
  in.Zeros(3);
  const auto tile_count = in.Integer<std::uint32_t>();
  if (!in.ok() || magic != kIndexMagic || level > Level::kExact || tile_count == 0 ||
      tile_count > limits::kTilesPerSegmentMax) {
    return std::nullopt;
  }
  return tile_count;
}

Result<SegmentIndex> DecodeIndex(ConstBytes segment, const ObjectTag& tag) {
  ByteReader in(segment);
  const auto magic = in.Integer<std::uint32_t>();
  SegmentIndex index;
  index.level = in.Integer<Level>();
  in.Zeros(3);
  const auto tile_count = in.Integer<std::uint32_t>();
  in.Zeros(4);
  const auto tile_bytes = in.Integer<std::uint64_t>();
  in.Zeros(8);
  if (!in.ok() || magic != kIndexMagic || index.level > Level::kExact || tile_count == 0 ||
      tile_count > limits::kTilesPerSegmentMax) {
    return Error(Code::kDataLoss, "no index");
  }
  const std::size_t checked = kIndexHeadBytes + std::size_t{tile_count} * kTileEntryBytes;
  if (segment.size() < checked + kIndexTailBytes) return Error(Code::kDataLoss, "index is cut");
  ByteReader tail(segment.subspan(checked, kIndexTailBytes));
  if (tail.OpaqueId<Checksum>() != IndexChecksum(tag, segment.first(checked))) {
    return Error(Code::kDataLoss, "index checksum");
  }
  if (const Status status = ReadEntries(in, tile_count, index); !status.ok()) {
    return std::unexpected(status);
  }
  if (index.TileBytes() != tile_bytes) return Error(Code::kDataLoss, "index contradicts itself");
  return index;
}

}  // namespace kdn
