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

// An engine's memory and where the chunk stands in it.
struct Memory {
  const PagedKv& kv;
  const BlockTables& blocks;
  const ChunkPlace& place;
};

// One tile's values in paged memory.
class TileMemory {
 public:
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

Status CheckMemory(const ModelSpec& spec, const Memory& memory) {
  const std::size_t groups = spec.groups.size();
  if (memory.kv.pools.size() != groups || memory.blocks.tables.size() != groups) {
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

Status DoesNotDecode() {
  return Status(Code::kDataLoss, "a tile does not decode");
}

Status DecodeRaw(const TileShape& shape, ConstBytes bytes, const TileMemory& memory) {
  if (bytes.size() != shape.raw_bytes()) return DoesNotDecode();
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (!memory.Holds(s)) continue;
    ScatterValues(memory.format(), bytes.data() + s * shape.strip_bytes(), memory.Rows(s));
  }
  return Status();
}

Status DecodePlanes(const Kernels& kernels, const TileShape& shape, ConstBytes bytes,
                    const TileMemory& memory, std::vector<std::byte>& scratch_memory) {
  Scratch scratch(scratch_memory, Scratch::Room<std::uint8_t>(shape.strips()) +
                                      Scratch::Room<ConstPlanePointers>(shape.strips()) +
                                      DecodePlanesRoom(shape));
  const auto wanted = scratch.Take<std::uint8_t>(shape.strips());
  for (std::size_t s = 0; s < wanted.size(); ++s) wanted[s] = memory.Holds(s) ? 1 : 0;
  const auto strips = scratch.Take<ConstPlanePointers>(shape.strips());
  if (!DecodeBytePlanes(kernels, shape, bytes, wanted, scratch, strips)) return DoesNotDecode();
  // Nothing has been written yet and nothing can fail from here on.
  for (std::size_t s = 0; s < wanted.size(); ++s) {
    if (wanted[s] == 0) continue;
    ScatterPlanes(kernels, memory.format(), strips[s], memory.Rows(s));
  }
  return Status();
}

// The tiles of a part and the most bytes that its object takes.
struct PlannedTile {
  TileCoordinates at;
  TilePlace place;
};
struct EncodePlan {
  std::vector<PlannedTile> tiles;
  std::size_t front_bytes = 0;  // header and index
  std::size_t bytes_max = 0;
};

Result<EncodePlan> PlanEncode(const ModelSpec& spec, const ObjectHeader& header) {
  if (header.levels_encoded != LevelSet(Level::kExact)) {
    return Error(Code::kUnimplemented, "this codec writes level exact standing alone only");
  }
  if (Status status = CheckHeader(spec, header); !status.ok()) return std::unexpected(status);
  EncodePlan plan;
  std::size_t tile_bytes = 0;
  for (const TileCoordinates& at : TilesOf(spec, header, Level::kExact)) {
    const Result<TilePlace> place = PlaceOf(spec, header, at);
    if (!place) return Error(Code::kInvalidArgument, place.error().message());
    tile_bytes += place->shape.raw_bytes() + kTileOverheadMax;
    plan.tiles.push_back({.at = at, .place = *place});
  }
  plan.front_bytes =
      kObjectHeaderBytes + kIndexHeadBytes + plan.tiles.size() * kTileEntryBytes + kIndexTailBytes;
  plan.bytes_max = plan.front_bytes + tile_bytes;
  if (plan.tiles.size() > limits::kTilesPerSegmentMax ||
      plan.bytes_max > limits::kSegmentBytesMax) {
    return Error(Code::kInvalidArgument, "the part is too large for one object");
  }
  return plan;
}

Status CheckHolds(const EncodePlan& plan, const Memory& memory) {
  for (const PlannedTile& tile : plan.tiles) {
    const TileMemory values(memory, tile.place, tile.at.kv_heads);
    KDN_RETURN_IF_ERROR(values.Check());
    if (values.HeldStrips() != tile.place.shape.strips()) {
      return Status(Code::kInvalidArgument, "the memory lacks a layer or head of the part");
    }
  }
  return Status();
}

// Writes header and index in front of the tiles. `front` has just their size.
void WriteFront(ObjectHeader header, const SegmentIndex& index, MutableBytes front) {
  header.flags |= kFlagExactAlone;
  header.level_bytes = {};
  header.level_bytes[static_cast<std::size_t>(Level::kExact)] =
      static_cast<std::uint32_t>(index.IndexBytes() + index.TileBytes());
  const HeaderBytes header_bytes = EncodeHeader(header);
  const std::vector<std::byte> index_bytes = EncodeIndex(index, TagOf(header));
  std::copy(header_bytes.begin(), header_bytes.end(), front.begin());
  std::copy(index_bytes.begin(), index_bytes.end(), front.begin() + kObjectHeaderBytes);
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
  const Result<EncodePlan> plan = PlanEncode(spec_, header);
  return plan ? plan->bytes_max : 0;
}

Status ObjectCodec::Encode(ObjectHeader header, const PagedKv& kv, const BlockTables& blocks,
                           const ChunkPlace& place, std::vector<std::byte>& object,
                           std::vector<std::byte>& scratch) const {
  const Memory memory{kv, blocks, place};
  const Result<EncodePlan> plan = PlanEncode(spec_, header);
  if (!plan) return plan.error();
  if (header.token_count != place.token_count) {
    return Status(Code::kInvalidArgument, "the place has not as many tokens as the header says");
  }
  KDN_RETURN_IF_ERROR(CheckMemory(spec_, memory));
  KDN_RETURN_IF_ERROR(CheckHolds(*plan, memory));

  // Nothing fails from here on. Tiles go where they stay; what they need in front is known.
  const std::size_t begin = object.size();
  object.resize(begin + plan->bytes_max);
  const MutableBytes out = std::span(object).subspan(begin);
  SegmentIndex index{.level = Level::kExact, .tiles = {}};
  index.tiles.reserve(plan->tiles.size());
  const ObjectTag tag = TagOf(header);
  std::size_t end = plan->front_bytes;
  for (const PlannedTile& tile : plan->tiles) {
    const TileMemory values(memory, tile.place, tile.at.kv_heads);
    TileEntry entry = EncodeTile(*kernels_, tile.place.shape, values, out.subspan(end), scratch);
    entry.at = tile.at;
    entry.offset = static_cast<std::uint32_t>(end - plan->front_bytes);
    entry.checksum = TileChecksum(tag, entry.at, entry.scheme, out.subspan(end, entry.size_bytes));
    end += entry.size_bytes;
    index.tiles.push_back(entry);
  }
  WriteFront(header, index, out.first(plan->front_bytes));
  object.resize(begin + end);
  return Status();
}

Status ObjectCodec::DecodeTile(const ObjectHeader& header, std::span<const TileBytes> tiles,
                               const PagedKv& kv, const BlockTables& blocks,
                               const ChunkPlace& place, std::vector<std::byte>& scratch) const {
  const Memory memory{kv, blocks, place};
  KDN_RETURN_IF_ERROR(CheckMemory(spec_, memory));
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
  const TileMemory values(memory, *tile, entry.at.kv_heads);
  if (values.HeldStrips() == 0) return Status();
  KDN_RETURN_IF_ERROR(values.Check());
  switch (entry.scheme) {
    case TileScheme::kRaw:
      return DecodeRaw(tile->shape, bytes, values);
    case TileScheme::kBytePlanes:
      return DecodePlanes(*kernels_, tile->shape, bytes, values, scratch);
  }
  return Status(Code::kUnimplemented, "a tile has a scheme of a newer version");
}

}  // namespace kdn::codec
