#include "codec/lane/encode_planner.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "codec/nested_layout.h"
#include "codec/paged_rows.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {

// A chunk part and where it stands.
struct EncodePlanner::Source {
  const ObjectHeader& header;
  Memory memory;
  const EncodeProfile* profile;
  const RotaryAngles* angles;  // null: keys are coded as they are
  std::uint8_t levels = 0;
};

// Offsets of what has been appended for this object already; kNoOffset: not yet.
struct EncodePlanner::Shared {
  static constexpr std::uint32_t kNoOffset = ~std::uint32_t{0};
  std::uint32_t turns = kNoOffset;
  std::vector<std::array<std::uint32_t, 2>> rows;  // by group and plane
};

namespace {

static_assert(kNestedLevels == kLossyLevels);
static_assert(kMiddleSymbol == kZeroSymbol);
static_assert(kClassWidthUnit == 16);

constexpr std::size_t kPlanBytesMax = std::size_t{1} << 30;

Status Refuse(Code code, const char* why) {
  return Status(code, why);
}

// Draft and what follows it without a gap: how many levels; 0 for anything else.
std::uint8_t LossyLevelsOf(LevelSet levels) {
  if (!CanEncode(levels) || levels.Has(Level::kExact)) return 0;
  std::uint8_t count = 0;
  while (count < kLossyLevels && levels.Has(static_cast<Level>(count))) ++count;
  return count;
}

// The coder of a place without a profile, as far as it is known before values are.
SymbolCoder OwnCoder() {
  Histogram histogram{};
  for (unsigned i = 0; i < kOwnSymbols; ++i) histogram[kOwnFirstSymbol + i] = 1;
  SymbolCoder coder;
  FillCoder(OwnTable(ModelOf(histogram)), coder);
  return coder;
}

// Bytes of a block and of what it takes to copy it.
std::size_t BlockRoom(std::size_t symbols) {
  return RoundUp(kLeanHeadBytes + symbols + kBlockAlignment, 16);
}

}  // namespace

std::uint32_t EncodedObject::tile_count() const {
  return static_cast<std::uint32_t>(places.size()) * LossyLevelsOf(header.levels_encoded);
}

EncodePlanner::EncodePlanner(ModelSpec spec, ObjectCodec codec, std::optional<RotaryAngles> angles)
    : spec_(std::move(spec)),
      codec_(std::move(codec)),
      angles_(std::move(angles)),
      own_coders_({OwnCoder()}) {
  Clear();
}

Result<EncodePlanner> EncodePlanner::Make(const ModelSpec& spec) {
  KDN_ASSIGN_OR_RETURN(ObjectCodec codec, ObjectCodec::Make(spec, "scalar"));
  std::optional<RotaryAngles> angles;
  if (auto made = RotaryAngles::Make(spec.rotary)) angles = *std::move(made);
  return EncodePlanner(spec, std::move(codec), std::move(angles));
}

void EncodePlanner::Clear() {
  plan_ = EncodePlan();
  plan_.shape.dtype = static_cast<std::uint8_t>(spec_.dtype);
  plan_.bytes.resize(sizeof(EncodePlanHeader));
  places_.clear();
  strips_.clear();
  blocks_.clear();
  tiles_.clear();
}

std::uint32_t EncodePlanner::Append(const void* data, std::size_t size) {
  const std::size_t at = RoundUp(plan_.bytes.size(), 16);
  plan_.bytes.resize(at + size);
  if (size != 0) std::memcpy(plan_.bytes.data() + at, data, size);
  return static_cast<std::uint32_t>(at);
}

std::uint64_t EncodePlanner::Reserve(std::size_t size) {
  const std::uint64_t at = plan_.shape.workspace_bytes;
  plan_.shape.workspace_bytes += RoundUp(size, 16);
  return at;
}

Status EncodePlanner::CheckAligned(const Source& source, const TilePlace& tile) const {
  const PlaneMap& map = source.memory.kv.pools[tile.group].planes[tile.plane];
  const auto word = static_cast<std::ptrdiff_t>(DTypeBytes(spec_.dtype));
  bool good = map.block_stride % word == 0 && map.slot_stride % word == 0 &&
              map.head_stride % word == 0 && map.dim_stride % word == 0;
  for (std::size_t l = 0; l < tile.shape.layers; ++l) {
    const auto base = reinterpret_cast<std::uintptr_t>(map.base[tile.first_layer + l]);
    good = good && base % static_cast<std::uintptr_t>(word) == 0;
  }
  return good ? Status() : Refuse(Code::kInvalidArgument, "values are not aligned to their size");
}

Status EncodePlanner::Check(const Source& source, std::vector<TilePlace>& places) const {
  const ObjectHeader& header = source.header;
  const std::size_t groups = spec_.groups.size();
  if (source.levels == 0) {
    return Refuse(Code::kUnimplemented, "a launch encodes draft and the lossy levels behind it");
  }
  KDN_RETURN_IF_ERROR(CheckHeader(spec_, header));
  if (codec_.EncodedBytesMax(header) == 0) {
    return Refuse(Code::kInvalidArgument, "the part is too large for one object");
  }
  if (header.token_count != source.memory.place.token_count) {
    return Refuse(Code::kInvalidArgument, "the place has not as many tokens as the header says");
  }
  if (source.memory.kv.pools.size() != groups || source.memory.blocks.tables.size() != groups) {
    return Refuse(Code::kInvalidArgument, "one pool and one block table are needed per KV group");
  }
  const ProfileId id =
      source.profile == nullptr ? ProfileId() : source.profile->image.profile().id();
  if (header.profile != id || (source.profile != nullptr && id.IsZero())) {
    return Refuse(Code::kInvalidArgument, "the object is coded with another profile");
  }
  for (const TileCoordinates& at : TilesOf(spec_, header, Level::kDraft)) {
    const Result<TilePlace> tile = PlaceOf(spec_, header, at);
    if (!tile) return Refuse(Code::kInvalidArgument, "the part has no such tile");
    const TileMemory memory(source.memory, *tile, at.kv_heads);
    KDN_RETURN_IF_ERROR(memory.Check());
    if (memory.HeldStrips() != tile->shape.strips()) {
      return Refuse(Code::kInvalidArgument, "the memory lacks a layer or head of the part");
    }
    if (tile->shape.head_size % kClassWidthUnit != 0) {
      return Refuse(Code::kUnimplemented, "lossy levels need head sizes that are multiples of 16");
    }
    if (source.profile != nullptr &&
        !source.profile->image.profile().Has(at.layers, tile->plane, at.kv_heads,
                                             tile->shape.head_size)) {
      return Refuse(Code::kInvalidArgument, "the profile is that of another model");
    }
    KDN_RETURN_IF_ERROR(CheckAligned(source, *tile));
    places.push_back(*tile);
  }
  if (source.angles == nullptr) {
    if ((header.flags & kFlagCodedRotated) != 0) return Status();
    return Refuse(Code::kUnimplemented, "keys of this model cannot be freed of their position");
  }
  if (header.first_position >= kPositionsMax ||
      kPositionsMax - header.first_position < header.token_count) {
    return Refuse(Code::kInvalidArgument, "positions must be below 2^29");
  }
  return Status();
}

Status EncodePlanner::Add(const ObjectHeader& header, const PagedKv& kv, const BlockTables& blocks,
                          const ChunkPlace& place, const EncodeProfile* profile) {
  const bool rotated = (header.flags & kFlagCodedRotated) != 0;
  const Source source{.header = header,
                      .memory = {kv, blocks, place},
                      .profile = profile,
                      .angles = rotated || !angles_ ? nullptr : &*angles_,
                      .levels = LossyLevelsOf(header.levels_encoded)};
  std::vector<TilePlace> tiles;
  KDN_RETURN_IF_ERROR(Check(source, tiles));
  // Rows and turns of this object, at most, and what waits for Take().
  const std::size_t rows_bytes = header.token_count * (8 + 4 * std::size_t{spec_.rotary.dims});
  const std::size_t tables_bytes = strips_.size() * sizeof(EncodeStrip) +
                                   blocks_.size() * sizeof(EncodeBlock) +
                                   tiles_.size() * sizeof(EncodeTile);
  if (plan_.bytes.size() + tables_bytes + 4 * rows_bytes > kPlanBytesMax) {
    return Refuse(Code::kResourceExhausted, "the plan is too large");
  }
  EncodedObject object{.header = header,
                       .places = TilesOf(spec_, header, Level::kDraft),
                       .first_tile = static_cast<std::uint32_t>(tiles_.size())};
  const auto count = static_cast<std::uint32_t>(tiles.size());
  Shared shared;
  shared.rows.assign(spec_.groups.size(), {Shared::kNoOffset, Shared::kNoOffset});
  for (std::uint32_t level = 0; level < source.levels; ++level) {
    for (std::uint32_t p = 0; p < count; ++p) {
      tiles_.push_back({static_cast<std::uint32_t>(places_.size()) + p, level});
    }
  }
  for (std::uint32_t p = 0; p < count; ++p) {
    EncodePlace one;
    one.first_tile = object.first_tile + p;
    one.tile_stride = count;
    one.levels = source.levels;
    AddPlace(source, object.places[p], tiles[p], one, shared);
  }
  plan_.objects.push_back(std::move(object));
  return Status();
}

void EncodePlanner::AddPlace(const Source& source, const TileCoordinates& at, const TilePlace& tile,
                             EncodePlace place, Shared& shared) {
  const TileShape& shape = tile.shape;
  place.first_strip = static_cast<std::uint32_t>(strips_.size());
  place.strip_count = static_cast<std::uint32_t>(shape.strips());
  place.channels = static_cast<std::uint16_t>(shape.head_size);
  place.own = source.profile == nullptr;
  std::uint64_t& out = plan_.shape.out_bytes_max;
  if (place.own) {
    place.table = Reserve(sizeof(LaneEncodeTable));
    out += 2 + kOwnSymbols + 4 * shape.head_size * shape.strips();
  }
  // Of draft: how many exponents, and each; of all levels: padding, or what an empty tile has.
  out += shape.strips() * (2 + 3 * std::size_t{shape.tokens}) + place.levels * kEmptyTileBytes;
  const TileMemory memory(source.memory, tile, at.kv_heads);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    EncodeStrip strip;
    if (source.profile != nullptr) {
      source.profile->image.PointAt(source.profile->image_dev,
                                    at.layers.first + static_cast<std::uint32_t>(s / shape.heads),
                                    tile.plane, memory.HeadOf(s), strip);
    }
    strip.pairs = RotaryPairs::kNone;
    const bool keys = at.plane == Plane::kK || at.plane == Plane::kRope;
    if (keys && source.angles != nullptr && spec_.rotary.pairing != RotaryPairing::kNone) {
      AddTurns(source, tile, shared, strip);
    }
    const auto layer = at.layers.first + static_cast<std::uint32_t>(s / shape.heads);
    const StripProfile own = OwnStrip(shape.head_size);
    const StripProfile& profile =
        place.own ? own
                  : source.profile->image.profile().strip(layer, tile.plane, memory.HeadOf(s));
    AddStrip(source, memory, tile, s, place, shared, strip);
    AddClasses(profile, place.own ? own_coders_ : source.profile->image.profile().coders(), place,
               place.own ? nullptr : source.profile->image_dev, strips_.back());
  }
  places_.push_back(place);
}

void EncodePlanner::AddRows(const Source& source, const TilePlace& tile, Shared& shared,
                            EncodeStrip& strip) {
  std::uint32_t& rows = shared.rows[tile.group][tile.plane];
  if (rows == Shared::kNoOffset) {
    const KvPool& pool = source.memory.kv.pools[tile.group];
    const PlaneMap& map = pool.planes[tile.plane];
    const std::span<const std::uint32_t> table = source.memory.blocks.tables[tile.group];
    std::vector<std::int64_t> offsets;
    for (std::uint32_t t = 0; t < tile.shape.tokens; ++t) {
      const std::uint64_t token = source.memory.place.first_token + t;
      const std::int64_t block = table[token / pool.block_tokens];
      const auto slot = static_cast<std::int64_t>(token % pool.block_tokens);
      offsets.push_back(block * map.block_stride + slot * map.slot_stride);
    }
    rows = Append(offsets.data(), offsets.size() * sizeof(std::int64_t));
  }
  strip.rows = rows;
}

void EncodePlanner::AddTurns(const Source& source, const TilePlace& tile, Shared& shared,
                             EncodeStrip& strip) {
  const std::size_t dims = spec_.rotary.dims;
  if (shared.turns == Shared::kNoOffset) {
    std::vector<float> rows(dims * tile.shape.tokens);
    source.angles->FillRows(source.header.first_position, tile.shape.tokens, rows.data());
    shared.turns = Append(rows.data(), rows.size() * sizeof(float));
  }
  const bool neox = spec_.rotary.pairing == RotaryPairing::kNeox;
  strip.pairs = neox ? RotaryPairs::kHalves : RotaryPairs::kNeighbours;
  strip.rotary_dims = static_cast<std::uint16_t>(dims);
  strip.turns = shared.turns;
}

void EncodePlanner::AddStrip(const Source& source, const TileMemory& memory, const TilePlace& tile,
                             std::size_t number, const EncodePlace& place, Shared& shared,
                             EncodeStrip strip) {
  const TileShape& shape = tile.shape;
  strip.head = memory.Rows(number).head();
  strip.dim_stride = source.memory.kv.pools[tile.group].planes[tile.plane].dim_stride;
  AddRows(source, tile, shared, strip);
  strip.channels = static_cast<std::uint16_t>(shape.head_size);
  strip.tokens = shape.tokens;
  strip.place = static_cast<std::uint32_t>(places_.size());
  strip.number = static_cast<std::uint32_t>(number);
  strip.symbols = Reserve(2 * shape.strip_values());
  strip.exponents = Reserve(shape.tokens);
  strip.result = Reserve(sizeof(StripResult));
  if (place.own) {
    strip.numbers = Reserve(2 * shape.head_size * sizeof(float));
    strip.counts = Reserve(EncodeMemory::kCountsBytes);
  }
  plan_.shape.memory.channels = std::max(plan_.shape.memory.channels, shape.head_size);
  strips_.push_back(strip);
}

void EncodePlanner::AddClasses(const StripProfile& profile, std::span<const SymbolCoder> coders,
                               const EncodePlace& place, const std::byte* tables,
                               EncodeStrip& strip) {
  std::vector<EncodeClass> classes;
  std::uint16_t first = 0;
  std::uint64_t& out = plan_.shape.out_bytes_max;
  for (const ComponentClass& one : profile.classes) {
    EncodeClass& mine = classes.emplace_back();
    mine.width = one.width;
    mine.first = std::exchange(first, static_cast<std::uint16_t>(first + one.width));
    mine.start = one.start;
    if (one.start >= kLossyLevels) continue;
    const SymbolCoder& coder = coders[one.table];
    mine.planes_at_start = one.planes;
    mine.planes = static_cast<std::uint8_t>(one.PlanesAt(kLossyLevels - 1));
    mine.first_symbol = coder.first_symbol;
    mine.last_symbol = coder.last_symbol;
    mine.clip = ClipOf(one, coder);
    for (std::size_t level = one.start; level < place.levels; ++level) {
      out += PlanesIn(one, level) * PlaneBytes(one, strip.tokens);
    }
    if (one.start >= place.levels) continue;
    const BlockCut cut(std::size_t{strip.tokens} * one.width);
    mine.first_block = static_cast<std::uint32_t>(blocks_.size());
    mine.block_count = static_cast<std::uint32_t>(cut.count());
    const std::uint64_t symbols = strip.symbols + std::size_t{strip.tokens} * mine.first;
    for (std::size_t b = 0; b < cut.count(); ++b) {
      EncodeBlock block;
      block.symbols = symbols + cut.Begin(b);
      block.count = static_cast<std::uint32_t>(cut.Size(b));
      const std::size_t room = BlockRoom(cut.Size(b));
      block.end = Reserve(room) + room;
      block.tables = tables;
      block.table = tables == nullptr ? place.table : EncodeImage::TableAt(one.table);
      blocks_.push_back(block);
      out += 3 + room;
    }
  }
  strip.class_count = static_cast<std::uint32_t>(classes.size());
  strip.classes = Append(classes.data(), classes.size() * sizeof(EncodeClass));
}

EncodePlan EncodePlanner::Take() {
  EncodePlanHeader header;
  header.places = Append(places_.data(), places_.size() * sizeof(EncodePlace));
  header.strips = Append(strips_.data(), strips_.size() * sizeof(EncodeStrip));
  header.blocks = Append(blocks_.data(), blocks_.size() * sizeof(EncodeBlock));
  header.tiles = Append(tiles_.data(), tiles_.size() * sizeof(EncodeTile));
  header.coded = Reserve(blocks_.size() * sizeof(CodedBlock));
  header.results = Reserve(tiles_.size() * sizeof(TileResult));
  std::memcpy(plan_.bytes.data(), &header, sizeof(header));
  plan_.shape.places = static_cast<std::uint32_t>(places_.size());
  plan_.shape.strips = static_cast<std::uint32_t>(strips_.size());
  plan_.shape.blocks = static_cast<std::uint32_t>(blocks_.size());
  plan_.shape.tiles = static_cast<std::uint32_t>(tiles_.size());
  EncodePlan plan = std::move(plan_);
  Clear();
  return plan;
}

Status AppendObject(const EncodePlan& plan, std::size_t number,
                    std::span<const std::uint32_t> sizes, ConstBytes out,
                    std::vector<std::byte>& object) {
  if (number >= plan.objects.size() || sizes.size() != plan.shape.tiles) {
    return Refuse(Code::kInvalidArgument, "there is no such object in the plan");
  }
  const EncodedObject& made = plan.objects[number];
  const auto mine = sizes.subspan(made.first_tile, made.tile_count());
  const auto add = [](std::uint64_t sum, std::uint32_t size) { return sum + size; };
  std::uint64_t at = std::accumulate(sizes.begin(), mine.begin(), std::uint64_t{0}, add);
  if (std::accumulate(mine.begin(), mine.end(), at, add) > out.size()) {
    return Refuse(Code::kInvalidArgument, "the tiles do not lie within the output");
  }
  ObjectHeader header = made.header;
  header.flags = static_cast<std::uint8_t>(header.flags & ~kFlagExactAlone);
  header.level_bytes = {};
  const ObjectTag tag = TagOf(header);
  std::vector<std::byte> segments;
  for (std::size_t l = 0; l < LossyLevelsOf(header.levels_encoded); ++l) {
    SegmentIndex index{.level = static_cast<Level>(l), .tiles = {}};
    const std::uint64_t begin = at;
    for (std::size_t p = 0; p < made.places.size(); ++p) {
      TileEntry& entry = index.tiles.emplace_back();
      entry.at = made.places[p];
      entry.at.level = index.level;
      entry.scheme = TileScheme::kNested;
      entry.offset = static_cast<std::uint32_t>(at - begin);
      entry.size_bytes = mine[l * made.places.size() + p];
      entry.checksum = TileChecksum(tag, entry.at, entry.scheme, out.subspan(at, entry.size_bytes));
      at += entry.size_bytes;
    }
    header.level_bytes[l] = static_cast<std::uint32_t>(index.IndexBytes() + index.TileBytes());
    const std::vector<std::byte> front = EncodeIndex(index, tag);
    const ConstBytes tiles = out.subspan(begin, at - begin);
    segments.insert(segments.end(), front.begin(), front.end());
    segments.insert(segments.end(), tiles.begin(), tiles.end());
  }
  const HeaderBytes front = EncodeHeader(header);
  object.insert(object.end(), front.begin(), front.end());
  object.insert(object.end(), segments.begin(), segments.end());
  return Status();
}

}  // namespace kdn::codec
