#include "codec/object_codec.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/limits.h"
#include "codec/byte_planes.h"
#include "codec/codec_scratch.h"
#include "codec/encoded_levels.h"
#include "codec/kernels/select.h"
#include "codec/lossy_tile.h"
#include "codec/paged_rows.h"
#include "codec/plane_layout.h"
#include "codec/rans_blocks.h"
#include "codec/scratch.h"
#include "codec/tile_memory.h"
#include "codec/tile_noise.h"
#include "codec/tile_plan.h"

namespace kdn::codec {
namespace {

constexpr std::size_t kTileOverheadMax = 64;

Status CheckMemory(const ModelSpec& spec, const Memory& memory) {
  const std::size_t groups = spec.groups.size();
  if (memory.kv.pools.size() != groups || memory.blocks.tables.size() != groups) {
    return Status(Code::kInvalidArgument, "one pool and one block table are needed per KV group");
  }
  return Status();
}

TileEntry StoreRaw(const TileShape& shape, const TileMemory& memory, MutableBytes out) {
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    GatherValues(memory.format(), memory.Rows(s), out.data() + s * shape.strip_bytes());
  }
  TileEntry entry;
  entry.scheme = TileScheme::kRaw;
  entry.size_bytes = static_cast<std::uint32_t>(shape.raw_bytes());
  return entry;
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
  const std::size_t size = EncodeBytePlanes(kernels, shape, planes, out.first(worth), scratch);
  if (size == 0) return StoreRaw(shape, memory, out);
  entry.size_bytes = static_cast<std::uint32_t>(size);
  return entry;
}

// Tiles of one place, from draft on without a gap, or one of exact alone.
Status CheckTiles(std::span<const TileBytes> tiles) {
  if (tiles.empty()) return Status(Code::kInvalidArgument, "there is no tile to decode");
  const TileEntry& first = tiles[0].entry;
  if (!IsTileScheme(first.scheme)) {
    return Status(Code::kUnimplemented, "a tile has a scheme of another version");
  }
  const bool nested = first.scheme == TileScheme::kNested;
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    TileCoordinates at = first.at;
    if (nested) at.level = static_cast<Level>(i);
    const TileEntry& entry = tiles[i].entry;
    const bool last = nested && at.level == Level::kExact;
    // Exact on top of others is no bins, whatever its entry says.
    const bool scheme =
        last ? entry.scheme == TileScheme::kResidual || entry.scheme == TileScheme::kRaw
             : entry.scheme == first.scheme;
    if (tiles.size() > kLevelCount || entry.at != at || !scheme) {
      return Status(Code::kInvalidArgument, "the tiles are not those of one place, draft first");
    }
  }
  if (!nested && (tiles.size() != 1 || first.at.level != Level::kExact)) {
    return Status(Code::kInvalidArgument, "exact alone is one tile");
  }
  if (first.scheme == TileScheme::kResidual) {
    return Status(Code::kInvalidArgument, "what is between fine and exact needs fine");
  }
  return Status();
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
  if (!DecodeBytePlanes(kernels, shape, bytes, wanted, memory.tokens(), scratch, strips)) {
    return DoesNotDecode();
  }
  // Nothing has been written yet and nothing can fail from here on.
  for (std::size_t s = 0; s < wanted.size(); ++s) {
    if (wanted[s] == 0) continue;
    ScatterPlanes(kernels, memory.format(), strips[s], memory.Rows(s));
  }
  return Status();
}

// The tiles of a part and the most bytes that its object takes.
struct EncodePlan {
  std::vector<PlannedTile> tiles;
  std::size_t front_bytes = 0;  // header and index
  std::size_t bytes_max = 0;
};

// A lossy tile's symbols take at most a byte each and its planes 5 bits; then states, exponents and
// what a tile without a profile brings along.
std::size_t LossyBytesMax(const TileShape& shape) {
  const std::size_t classes = shape.head_size / kClassWidthUnit;
  const std::size_t blocks = classes + shape.strip_values() / kBlockSymbolsMax + 1;
  return 2 * shape.values() +
         shape.strips() * (2 * kLeanHeadBytes * blocks + 8 * shape.head_size + 4 * shape.tokens) +
         kLossyLevels * 256;
}

Result<EncodePlan> PlanEncode(const ModelSpec& spec, const ObjectHeader& header) {
  if (!CanEncode(header.levels_encoded)) {
    return Error(Code::kUnimplemented, "levels are exact alone, or draft and what follows it");
  }
  if (Status status = CheckHeader(spec, header); !status.ok()) return std::unexpected(status);
  const bool alone = header.levels_encoded == LevelSet(Level::kExact);
  EncodePlan plan;
  std::size_t tile_bytes = 0;
  for (const TileCoordinates& at : TilesOf(spec, header, Level::kExact)) {
    const Result<TilePlace> place = PlaceOf(spec, header, at);
    if (!place) return Error(Code::kInvalidArgument, place.error().message());
    if (header.levels_encoded.Has(Level::kExact)) {
      tile_bytes += place->shape.raw_bytes() + kTileOverheadMax;
    }
    if (!alone) tile_bytes += LossyBytesMax(place->shape);
    plan.tiles.push_back({.at = at, .place = *place});
  }
  const std::size_t index_bytes =
      kIndexHeadBytes + plan.tiles.size() * kTileEntryBytes + kIndexTailBytes;
  std::size_t levels = 0;
  for (const LevelInfo& info : Levels()) levels += header.levels_encoded.Has(info.level) ? 1 : 0;
  plan.front_bytes = kObjectHeaderBytes + index_bytes;
  plan.bytes_max = kObjectHeaderBytes + levels * index_bytes + tile_bytes;
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

Status CheckEncode(const ModelSpec& spec, const EncodePlan& plan, const ObjectHeader& header,
                   const Memory& memory) {
  if (header.token_count != memory.place.token_count) {
    return Status(Code::kInvalidArgument, "the place has not as many tokens as the header says");
  }
  KDN_RETURN_IF_ERROR(CheckMemory(spec, memory));
  return CheckHolds(plan, memory);
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

// Nothing fails from here on. Tiles go where they stay; what they need in front is known. Returns
// the object's size; `out` has plan.bytes_max.
std::size_t EncodeAlone(const Kernels& kernels, const ObjectHeader& header, const Memory& memory,
                        const EncodePlan& plan, MutableBytes out, std::vector<std::byte>& scratch) {
  SegmentIndex index{.level = Level::kExact, .tiles = {}};
  index.tiles.reserve(plan.tiles.size());
  const ObjectTag tag = TagOf(header);
  std::size_t end = plan.front_bytes;
  for (const PlannedTile& tile : plan.tiles) {
    const TileMemory values(memory, tile.place, tile.at.kv_heads);
    const MutableBytes room = out.subspan(end);
    TileEntry entry = IsNoiseTile(kernels, memory, tile.at, tile.place)
                          ? StoreRaw(tile.place.shape, values, room)
                          : EncodeTile(kernels, tile.place.shape, values, room, scratch);
    entry.at = tile.at;
    entry.offset = static_cast<std::uint32_t>(end - plan.front_bytes);
    entry.checksum = TileChecksum(tag, entry.at, entry.scheme, out.subspan(end, entry.size_bytes));
    end += entry.size_bytes;
    index.tiles.push_back(entry);
  }
  WriteFront(header, index, out.first(plan.front_bytes));
  return end;
}

// Exact alone, turned to another position: through a copy, as turning needs whole rows.
Status DecodeMoved(const LossyContext& context, const LossyTile& tile, const TileBytes& one,
                   std::int64_t moved, const TileMemory& memory, CodecScratch& scratch) {
  const TileShape& shape = tile.place.shape;
  scratch.values.resize(shape.raw_bytes());
  const std::size_t row_bytes = shape.head_size * DTypeBytes(shape.dtype);
  // A pool of one block that holds what the memory holds of the tile, and nothing else.
  const std::uint32_t block = 0;
  std::vector<std::byte*> bases(tile.place.first_layer + shape.layers, nullptr);
  Range heads;
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (!memory.Holds(s)) continue;
    const auto head = static_cast<std::uint16_t>(memory.HeadOf(s));
    if (heads.count == 0) heads.first = head;
    heads.count = std::max(heads.count, static_cast<std::uint16_t>(head - heads.first + 1));
    const std::size_t l = s / shape.heads;
    bases[tile.place.first_layer + l] =
        scratch.values.data() +
        (l * shape.heads + heads.first - tile.at.kv_heads.first) * shape.strip_bytes();
  }
  std::vector<KvPool> pools(tile.place.group + 1);
  KvPool& pool = pools[tile.place.group];
  pool.block_tokens = shape.tokens;
  pool.block_count = 1;
  pool.first_head = heads.first;
  pool.head_count = heads.count;
  pool.planes[tile.place.plane] = {
      .base = bases,
      .block_stride = 0,
      .slot_stride = static_cast<std::ptrdiff_t>(row_bytes),
      .head_stride = static_cast<std::ptrdiff_t>(shape.strip_bytes()),
      .dim_stride = static_cast<std::ptrdiff_t>(DTypeBytes(shape.dtype))};
  const std::vector<std::span<const std::uint32_t>> tables(pools.size(), std::span(&block, 1));
  const ChunkPlace wanted{.first_token = 0, .token_count = memory.tokens()};
  const PagedKv kv{pools};
  const BlockTables blocks{tables};
  const Memory copy{kv, blocks, wanted};
  const TileMemory values(copy, tile.place, tile.at.kv_heads);
  KDN_RETURN_IF_ERROR(one.entry.scheme == TileScheme::kRaw
                          ? DecodeRaw(shape, one.bytes, values)
                          : DecodePlanes(context.kernels, shape, one.bytes, values, scratch.bytes));
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (!memory.Holds(s)) continue;
    TurnValues(
        context, tile, moved,
        MutableBytes(scratch.values).subspan(s * shape.strip_bytes(), memory.tokens() * row_bytes));
  }
  return DecodeRaw(shape, scratch.values, memory);
}

// Whether keys of this object can be freed of their position, and are.
const RotaryAngles* AnglesFor(const ObjectHeader& header, const RotaryAngles* angles) {
  return (header.flags & kFlagCodedRotated) != 0 ? nullptr : angles;
}

// Whether the lossy levels can code such a tile, with this profile.
Status CheckLossy(const ObjectHeader& header, const Profile* profile, const TileCoordinates& at,
                  const TilePlace& tile) {
  if (tile.shape.head_size % kClassWidthUnit != 0) {
    return Status(Code::kUnimplemented, "lossy levels need head sizes that are multiples of 16");
  }
  if (header.profile != (profile == nullptr ? ProfileId() : profile->id()) ||
      (profile != nullptr && profile->id().IsZero())) {
    return Status(Code::kInvalidArgument, "the object is coded with another profile");
  }
  if (profile != nullptr &&
      !profile->Has(at.layers, tile.plane, at.kv_heads, tile.shape.head_size)) {
    return Status(Code::kInvalidArgument, "the profile is that of another model");
  }
  return Status();
}

// Whether tokens from there on are where angles are exact. Wherever they come from, positions are
// bounded before anything is computed of them.
Status CheckPositions(std::uint64_t first, std::uint32_t tokens) {
  if (first < kPositionsMax && kPositionsMax - first >= tokens) return Status();
  return Status(Code::kInvalidArgument, "positions must be below 2^29");
}

Status CheckMoved(const ObjectHeader& header, const RotaryAngles* angles, std::int64_t moved) {
  if (moved != 0 && angles == nullptr) {
    return Status(Code::kUnimplemented, "these keys were coded rotated and cannot be moved");
  }
  if (angles == nullptr) return Status();
  KDN_RETURN_IF_ERROR(CheckPositions(header.first_position, header.token_count));
  constexpr auto kEnd = static_cast<std::int64_t>(kPositionsMax);
  if (moved <= -kEnd || moved >= kEnd) {
    return Status(Code::kInvalidArgument, "a chunk cannot be moved so far");
  }
  const std::int64_t first = static_cast<std::int64_t>(header.first_position) + moved;
  if (first < 0) {
    return Status(Code::kInvalidArgument, "the chunk would begin before position 0");
  }
  return CheckPositions(static_cast<std::uint64_t>(first), header.token_count);
}

// Whether tiles of several levels can be made of the part, with the profile.
Status CheckLevels(const ObjectHeader& header, std::span<const PlannedTile> tiles,
                   const RotaryAngles* angles, const Profile* profile) {
  for (const PlannedTile& tile : tiles) {
    KDN_RETURN_IF_ERROR(CheckLossy(header, profile, tile.at, tile.place));
  }
  if (angles == nullptr && (header.flags & kFlagCodedRotated) == 0) {
    return Status(Code::kUnimplemented, "keys of this model cannot be freed of their position");
  }
  return CheckMoved(header, angles, 0);
}

}  // namespace

bool CanEncode(LevelSet levels) {
  if (levels == LevelSet(Level::kExact)) return true;
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<unsigned>(info.level);
    if (levels.Has(info.level) && number > 0 && !levels.Has(static_cast<Level>(number - 1))) {
      return false;
    }
  }
  return levels.Has(Level::kDraft);
}

Result<ObjectCodec> ObjectCodec::Make(const ModelSpec& spec, std::string_view kernels) {
  if (Status status = ValidateModelSpec(spec); !status.ok()) return std::unexpected(status);
  KDN_ASSIGN_OR_RETURN(const Kernels* table, SelectKernels(kernels));
  ObjectCodec codec(spec, *table);
  if (auto angles = RotaryAngles::Make(spec.rotary)) {
    codec.angles_ = std::make_shared<const RotaryAngles>(*std::move(angles));
  }
  return codec;
}

ObjectCodec::ObjectCodec(ModelSpec spec, const Kernels& kernels)
    : spec_(std::move(spec)), kernels_(&kernels) {}

std::size_t ObjectCodec::EncodedBytesMax(const ObjectHeader& header) const {
  const Result<EncodePlan> plan = PlanEncode(spec_, header);
  return plan ? plan->bytes_max : 0;
}

Status ObjectCodec::Encode(ObjectHeader header, const PagedKv& kv, const BlockTables& blocks,
                           const ChunkPlace& place, const Profile* profile,
                           std::vector<std::byte>& object, CodecScratch& scratch) const {
  const Memory memory{kv, blocks, place};
  const Result<EncodePlan> plan = PlanEncode(spec_, header);
  if (!plan) return plan.error();
  KDN_RETURN_IF_ERROR(CheckEncode(spec_, *plan, header, memory));
  if (header.levels_encoded == LevelSet(Level::kExact)) {
    const std::size_t begin = object.size();
    object.resize(begin + plan->bytes_max);
    const MutableBytes out = std::span(object).subspan(begin);
    const std::size_t size = EncodeAlone(*kernels_, header, memory, *plan, out, scratch.bytes);
    object.resize(begin + size);
    return Status();
  }
  const RotaryAngles* angles = AnglesFor(header, angles_.get());
  KDN_RETURN_IF_ERROR(CheckLevels(header, plan->tiles, angles, profile));
  EncodedLevels({*kernels_, spec_, angles, profile}, header, memory, plan->tiles, scratch)
      .AppendTo(object);
  return Status();
}

Result<std::size_t> ObjectCodec::EncodeInto(MutableBytes out, ObjectHeader header,
                                            const PagedKv& kv, const BlockTables& blocks,
                                            const ChunkPlace& place, const Profile* profile,
                                            CodecScratch& scratch) const {
  const Memory memory{kv, blocks, place};
  KDN_ASSIGN_OR_RETURN(const EncodePlan plan, PlanEncode(spec_, header));
  if (Status status = CheckEncode(spec_, plan, header, memory); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  if (header.levels_encoded == LevelSet(Level::kExact)) {
    if (out.size() < plan.bytes_max) return Error(Code::kInternal);
    return EncodeAlone(*kernels_, header, memory, plan, out, scratch.bytes);
  }
  const RotaryAngles* angles = AnglesFor(header, angles_.get());
  if (Status status = CheckLevels(header, plan.tiles, angles, profile); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  const EncodedLevels levels({*kernels_, spec_, angles, profile}, header, memory, plan.tiles,
                             scratch);
  if (levels.ObjectBytes() > out.size()) return Error(Code::kInternal);
  levels.CopyTo(out);
  return levels.ObjectBytes();
}

Status ObjectCodec::DecodeTile(const ObjectHeader& header, std::span<const TileBytes> tiles,
                               const PagedKv& kv, const BlockTables& blocks,
                               const ChunkPlace& place, const Profile* profile,
                               CodecScratch& scratch) const {
  const Memory memory{kv, blocks, place};
  KDN_RETURN_IF_ERROR(CheckMemory(spec_, memory));
  KDN_RETURN_IF_ERROR(CheckHeader(spec_, header));
  if (place.token_count > header.token_count) {
    return Status(Code::kInvalidArgument, "the place has more tokens than the chunk");
  }
  KDN_RETURN_IF_ERROR(CheckTiles(tiles));
  const RotaryAngles* angles = AnglesFor(header, angles_.get());
  const TileEntry& entry = tiles[0].entry;
  if (entry.scheme == TileScheme::kNested || place.moved != 0) {
    KDN_RETURN_IF_ERROR(CheckMoved(header, angles, place.moved));
  }
  Result<TilePlace> tile = PlaceOf(spec_, header, entry.at);
  if (!tile) return std::move(tile).error();
  const TileMemory values(memory, *tile, entry.at.kv_heads);
  if (values.HeldStrips() == 0) return Status();
  KDN_RETURN_IF_ERROR(values.Check());
  const LossyContext context{*kernels_, spec_, angles, profile};
  const LossyTile lossy{entry.at, *tile, header.first_position};
  if (entry.scheme == TileScheme::kNested) {
    KDN_RETURN_IF_ERROR(CheckLossy(header, profile, entry.at, *tile));
    return DecodeLossyTile(context, lossy, tiles, place.moved, values, scratch);
  }
  if (place.moved != 0) return DecodeMoved(context, lossy, tiles[0], place.moved, values, scratch);
  if (entry.scheme == TileScheme::kRaw) return DecodeRaw(tile->shape, tiles[0].bytes, values);
  return DecodePlanes(*kernels_, tile->shape, tiles[0].bytes, values, scratch.bytes);
}

}  // namespace kdn::codec
