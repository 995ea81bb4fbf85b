#include "codec/object_codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "codec/byte_planes.h"
#include "codec/kernels/select.h"
#include "codec/paged_rows.h"
#include "codec/plane_layout.h"
#include "codec/scratch.h"
#include "codec/tile_plan.h"

namespace kdn::codec {
namespace {

constexpr std::size_t kTileOverheadMax = 64;

// One tile's values in paged memory.
class TileMemory {
 public:
  TileMemory(const PagedKv& kv, const BlockTables& blocks, const ChunkPlace& place,
             const TilePlace& tile, const Range& heads)
      : pool_(kv.pools[tile.group]),
        map_(pool_.planes[tile.plane]),
        blocks_(blocks.tables[tile.group]),
        place_(place),
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
  [[nodiscard]] RowFormat format() const {
    return {.dtype = tile_.shape.dtype, .head_size = tile_.shape.head_size};
  }

 private:
  [[nodiscard]] std::uint32_t HeadOf(std::size_t strip) const {
    return heads_.first + static_cast<std::uint32_t>(strip % tile_.shape.heads);
  }
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

Status CheckMemory(const ModelSpec& spec, const PagedKv& kv, const BlockTables& blocks) {
  if (kv.pools.size() != spec.groups.size() || blocks.tables.size() != spec.groups.size()) {
    return Status(Code::kInvalidArgument, "one pool and one block table are needed per KV group");
  }
  return Status();
}

// Encodes one tile at the front of `out`, which has room for raw + 64 bytes.
TileEntry EncodeTile(const Kernels& kernels, const TileShape& shape, const TileMemory& memory,
                     MutableBytes out, std::vector<std::byte>& scratch_memory) {
  const std::size_t plane_count = PlanesOf(shape.dtype).size();
  Scratch scratch(scratch_memory, plane_count * Scratch::Room<std::uint8_t>(shape.values()) +
                                      EncodePlanesRoom(shape));
  PlanePointers planes{};
  for (std::size_t p = 0; p < plane_count; ++p) {
    planes[p] = scratch.Take<std::uint8_t>(shape.values()).data();
  }
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    PlanePointers strip = planes;
    for (std::size_t p = 0; p < plane_count; ++p) strip[p] += s * shape.strip_values();
    GatherPlanes(kernels, memory.format(), memory.Rows(s), strip);
  }
  TileEntry entry;
  entry.scheme = TileScheme::kBytePlanes;
  const std::size_t worth = shape.raw_bytes() - 1;  // as large as raw is raw
  std::size_t size = EncodeBytePlanes(kernels, shape, planes, out.first(worth), scratch);
  if (size == 0) {
    entry.scheme = TileScheme::kRaw;
    size = shape.raw_bytes();
    for (std::size_t s = 0; s < shape.strips(); ++s) {
      GatherValues(memory.format(), memory.Rows(s), out.data() + s * shape.strip_bytes());
    }
  }
  entry.size_bytes = static_cast<std::uint32_t>(size);
  return entry;
}

Status CheckEncodable(const ModelSpec& spec, const ObjectHeader& header, const PagedKv& kv,
                      const BlockTables& blocks, const ChunkPlace& place) {
  if (header.levels_encoded != LevelSet(Level::kExact)) {
    return Status(Code::kUnimplemented, "this codec writes level exact standing alone only");
  }
  if (header.token_count != place.token_count) {
    return Status(Code::kInvalidArgument, "the place has not as many tokens as the header says");
  }
  KDN_RETURN_IF_ERROR(CheckHeader(spec, header));
  return CheckMemory(spec, kv, blocks);
}

// What Encode() and EncodedBytesMax() agree on: the tiles of the part and the most they take.
struct EncodePlan {
  std::vector<TileCoordinates> tiles;
  std::size_t bytes_max = 0;
};

EncodePlan PlanEncode(const ModelSpec& spec, const ObjectHeader& header) {
  EncodePlan plan{.tiles = TilesOf(spec, header, Level::kExact)};
  plan.bytes_max = kObjectHeaderBytes + kIndexHeadBytes + kIndexTailBytes;
  for (const TileCoordinates& at : plan.tiles) {
    plan.bytes_max += kTileEntryBytes + kTileOverheadMax;
    if (const Result<TilePlace> tile = PlaceOf(spec, header, at)) {
      plan.bytes_max += tile->shape.raw_bytes();
    }
  }
  return plan;
}

}  // namespace

Result<ObjectCodec> ObjectCodec::Make(const ModelSpec& spec, std::string_view kernels) {
  if (Status status = ValidateModelSpec(spec); !status.ok()) return std::unexpected(status);
  KDN_ASSIGN_OR_RETURN(const Kernels* table, SelectKernels(kernels));
  return ObjectCodec(spec, *table);
}

ObjectCodec::ObjectCodec(ModelSpec spec, const Kernels& kernels)
    : spec_(std::move(spec)), kernels_(&kernels) {}

std::size_t ObjectCodec::EncodedBytesMax(const ObjectHeader& header) const {
  return CheckHeader(spec_, header).ok() ? PlanEncode(spec_, header).bytes_max : 0;
}

Status ObjectCodec::Encode(ObjectHeader header, const PagedKv& kv, const BlockTables& blocks,
                           const ChunkPlace& place, std::vector<std::byte>& object,
                           std::vector<std::byte>& scratch) const {
  KDN_RETURN_IF_ERROR(CheckEncodable(spec_, header, kv, blocks, place));
  const EncodePlan plan = PlanEncode(spec_, header);
  if (plan.tiles.size() > limits::kTilesPerSegmentMax ||
      plan.bytes_max > limits::kSegmentBytesMax) {
    return Status(Code::kInvalidArgument, "the part is too large for one object");
  }
  const std::size_t begin = object.size();
  const std::size_t tiles_begin = begin + kObjectHeaderBytes + kIndexHeadBytes + kIndexTailBytes +
                                  plan.tiles.size() * kTileEntryBytes;
  object.resize(begin + plan.bytes_max);
  const auto give_up = [&](Status status) {
    object.resize(begin);
    return status;
  };

  SegmentIndex index{.level = Level::kExact, .tiles = {}};
  index.tiles.reserve(plan.tiles.size());
  std::size_t end = tiles_begin;
  for (const TileCoordinates& at : plan.tiles) {
    const Result<TilePlace> tile = PlaceOf(spec_, header, at);
    if (!tile) return give_up(Status(Code::kInvalidArgument, tile.error().message()));
    const TileMemory memory(kv, blocks, place, *tile, at.kv_heads);
    if (Status status = memory.Check(); !status.ok()) return give_up(std::move(status));
    for (std::size_t s = 0; s < tile->shape.strips(); ++s) {
      if (!memory.Holds(s)) {
        return give_up(Status(Code::kInvalidArgument, "the memory lacks a layer or head"));
      }
    }
    TileEntry entry =
        EncodeTile(*kernels_, tile->shape, memory, std::span(object).subspan(end), scratch);
    entry.at = at;
    entry.offset = static_cast<std::uint32_t>(end - tiles_begin);
    entry.checksum = TileChecksum(header.put_id, at, entry.scheme,
                                  ConstBytes(object).subspan(end, entry.size_bytes));
    end += entry.size_bytes;
    index.tiles.push_back(entry);
  }

  object.resize(end);
  header.flags |= kFlagExactAlone;
  header.level_bytes = {};
  header.level_bytes[static_cast<std::size_t>(Level::kExact)] =
      static_cast<std::uint32_t>(end - begin - kObjectHeaderBytes);
  const HeaderBytes header_bytes = EncodeHeader(header);
  const std::vector<std::byte> index_bytes = EncodeIndex(index, header.put_id);
  const auto front = object.begin() + static_cast<std::ptrdiff_t>(begin);
  std::copy(header_bytes.begin(), header_bytes.end(), front);
  std::copy(index_bytes.begin(), index_bytes.end(), front + kObjectHeaderBytes);
  return Status();
}

Status ObjectCodec::DecodeTile(const ObjectHeader& header, std::span<const TileBytes> tiles,
                               const PagedKv& kv, const BlockTables& blocks,
                               const ChunkPlace& place, std::vector<std::byte>& scratch) const {
  KDN_RETURN_IF_ERROR(CheckMemory(spec_, kv, blocks));
  KDN_RETURN_IF_ERROR(CheckHeader(spec_, header));
  if (place.token_count > header.token_count) {
    return Status(Code::kInvalidArgument, "the place has more tokens than the chunk");
  }
  if (tiles.size() != 1 || tiles[0].entry.at.level != Level::kExact) {
    return Status(Code::kUnimplemented, "this codec reads level exact standing alone only");
  }
  const auto& [entry, bytes] = tiles[0];
  Result<TilePlace> tile = PlaceOf(spec_, header, entry.at);
  if (!tile) return std::move(tile).error();
  const TileShape& shape = tile->shape;
  const TileMemory memory(kv, blocks, place, *tile, entry.at.kv_heads);
  KDN_RETURN_IF_ERROR(memory.Check());

  Scratch room(scratch, Scratch::Room<std::uint8_t>(shape.strips()) +
                            Scratch::Room<ConstPlanePointers>(shape.strips()) +
                            DecodePlanesRoom(shape));
  const std::span<std::uint8_t> wanted = room.Take<std::uint8_t>(shape.strips());
  for (std::size_t s = 0; s < wanted.size(); ++s) wanted[s] = memory.Holds(s) ? 1 : 0;
  const std::span<ConstPlanePointers> strips = room.Take<ConstPlanePointers>(shape.strips());

  const auto broken = [] { return Status(Code::kDataLoss, "a tile does not decode"); };
  switch (entry.scheme) {
    case TileScheme::kRaw:
      if (bytes.size() != shape.raw_bytes()) return broken();
      break;
    case TileScheme::kBytePlanes:
      if (!DecodeBytePlanes(*kernels_, shape, bytes, wanted, room, strips)) return broken();
      break;
    default:
      return Status(Code::kUnimplemented, "a tile has a scheme of a newer version");
  }
  // Nothing has been written yet and nothing can fail from here on.
  for (std::size_t s = 0; s < wanted.size(); ++s) {
    if (wanted[s] == 0) continue;
    if (entry.scheme == TileScheme::kRaw) {
      ScatterValues(memory.format(), bytes.data() + s * shape.strip_bytes(), memory.Rows(s));
    } else {
      ScatterPlanes(*kernels_, memory.format(), strips[s], memory.Rows(s));
    }
  }
  return Status();
}

}  // namespace kdn::codec
