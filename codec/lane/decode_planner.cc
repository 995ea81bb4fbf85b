#include "codec/lane/decode_planner.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "codec/lane/decode_planner_work.h"
#include "codec/lane/token_windows.h"
#include "codec/paged_rows.h"
#include "codec/tile_memory.h"

namespace kdn::codec {

namespace {

constexpr std::uint32_t kPlanBytesMax = 1U << 30;

Status Refuse(Code code, const char* why) {
  return Status(code, why);
}
Status DoesNotDecode() {
  return Status(Code::kDataLoss, "a tile does not decode");
}

// Tiles of one place, from draft on without a gap, or one of exact alone.
Status CheckTiles(std::span<const LaunchTile> tiles) {
  if (tiles.empty()) return Refuse(Code::kInvalidArgument, "there is no tile to decode");
  const TileEntry& first = tiles[0].entry;
  const bool nested = first.scheme == TileScheme::kNested;
  if (!nested && (tiles.size() != 1 || first.at.level != Level::kExact)) {
    return Refuse(Code::kInvalidArgument, "exact alone is one tile");
  }
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    const TileEntry& entry = tiles[i].entry;
    TileCoordinates at = first.at;
    if (nested) at.level = static_cast<Level>(i);
    if (tiles.size() > kLevelCount || entry.at != at) {
      return Refuse(Code::kInvalidArgument, "the tiles are not those of one place, draft first");
    }
    if (!IsTileScheme(entry.scheme)) {
      return Refuse(Code::kUnimplemented, "a launch does not decode tiles of this scheme");
    }
    const bool last = nested && at.level == Level::kExact;
    const bool scheme =
        last ? entry.scheme == TileScheme::kResidual || entry.scheme == TileScheme::kRaw
             : entry.scheme == first.scheme;
    if (!scheme || (!nested && entry.scheme == TileScheme::kResidual)) {
      return Refuse(Code::kInvalidArgument, "the tiles are not those of one place, draft first");
    }
    if (reinterpret_cast<std::uintptr_t>(tiles[i].bytes_dev) % 4 != 0) {
      return Refuse(Code::kInvalidArgument, "a tile is not aligned to 4 bytes");
    }
  }
  return Status();
}

// As DecodeTile() has it: positions are bounded before anything is computed of them.
Status CheckPositions(std::uint64_t first, std::uint32_t tokens) {
  if (first < kPositionsMax && kPositionsMax - first >= tokens) return Status();
  return Refuse(Code::kInvalidArgument, "positions must be below 2^29");
}

Status CheckMoved(const ObjectHeader& header, const RotaryAngles* angles, std::int64_t moved) {
  if (moved != 0 && angles == nullptr) {
    return Refuse(Code::kUnimplemented, "these keys were coded rotated and cannot be moved");
  }
  if (angles == nullptr) return Status();
  KDN_RETURN_IF_ERROR(CheckPositions(header.first_position, header.token_count));
  constexpr auto kEnd = static_cast<std::int64_t>(kPositionsMax);
  if (moved <= -kEnd || moved >= kEnd) {
    return Refuse(Code::kInvalidArgument, "a chunk cannot be moved so far");
  }
  const std::int64_t first = static_cast<std::int64_t>(header.first_position) + moved;
  if (first < 0) return Refuse(Code::kInvalidArgument, "the chunk would begin before position 0");
  return CheckPositions(static_cast<std::uint64_t>(first), header.token_count);
}

std::size_t SlotChannels(DType dtype) {
  return DTypeBytes(dtype) == 1 ? 16 : 8;
}

}  // namespace

DecodePlanner::DecodePlanner(ModelSpec spec, std::optional<RotaryAngles> angles)
    : spec_(std::move(spec)), angles_(std::move(angles)) {
  Clear();
}

Result<DecodePlanner> DecodePlanner::Make(const ModelSpec& spec) {
  if (Status status = ValidateModelSpec(spec); !status.ok()) return std::unexpected(status);
  std::optional<RotaryAngles> angles;
  if (auto made = RotaryAngles::Make(spec.rotary)) angles = *std::move(made);
  return DecodePlanner(spec, std::move(angles));
}

void DecodePlanner::Clear() {
  plan_ = DecodePlan();
  plan_.shape.dtype = static_cast<std::uint8_t>(spec_.dtype);
  plan_.bytes.resize(sizeof(LanePlanHeader));
  units_.clear();
  strips_.clear();
  blocks_.clear();
  corrections_.clear();
  segments_.clear();
  place_of_segment_.clear();
  places_ = 0;
  raw_ = false;
}

std::uint32_t DecodePlanner::Append(const void* data, std::size_t size) {
  const std::size_t at = RoundUp(plan_.bytes.size(), 16);
  plan_.bytes.resize(at + size);
  if (size != 0) std::memcpy(plan_.bytes.data() + at, data, size);
  return static_cast<std::uint32_t>(at);
}

Status DecodePlanner::Add(const ObjectHeader& header,
                          std::span<const std::span<const LaunchTile>> places, const PagedKv& kv,
                          const BlockTables& blocks, const ChunkPlace& place,
                          const LaunchProfile* profile) {
  const std::size_t groups = spec_.groups.size();
  if (kv.pools.size() != groups || blocks.tables.size() != groups) {
    return Refuse(Code::kInvalidArgument, "one pool and one block table are needed per KV group");
  }
  KDN_RETURN_IF_ERROR(CheckHeader(spec_, header));
  if (place.token_count > header.token_count) {
    return Refuse(Code::kInvalidArgument, "the place has more tokens than the chunk");
  }
  const bool rotated = (header.flags & kFlagCodedRotated) != 0;
  const Target target{
      header, {kv, blocks, place}, profile, rotated || !angles_ ? nullptr : &*angles_};
  Shared shared;
  shared.rows.resize(groups);
  const std::size_t before[] = {plan_.bytes.size(), units_.size(),       strips_.size(),
                                blocks_.size(),     corrections_.size(), segments_.size()};
  const std::uint64_t workspace_before = plan_.shape.workspace_bytes;
  const std::uint32_t places_before = places_;
  for (std::size_t p = 0; p < places.size(); ++p) {
    Status status = AddPlace(target, places[p], shared);
    // And what waits for Take(): offsets have 32 bits.
    const std::size_t tables_bytes =
        units_.size() * sizeof(LaneUnit) + strips_.size() * sizeof(LaneStrip) +
        blocks_.size() * sizeof(LaneBlock) + corrections_.size() * sizeof(LaneCorrection) +
        segments_.size() * sizeof(LaneSegment);
    if (status.ok() && plan_.bytes.size() + tables_bytes > kPlanBytesMax) {
      status = Status(Code::kResourceExhausted, "the plan is too large");
    }
    if (!status.ok()) {
      plan_.bytes.resize(before[0]);
      units_.resize(before[1]);
      plan_.place_of_verdict.resize(before[1]);
      strips_.resize(before[2]);
      blocks_.resize(before[3]);
      corrections_.resize(before[4]);
      segments_.resize(before[5]);
      place_of_segment_.resize(before[5]);
      plan_.shape.workspace_bytes = workspace_before;
      places_ = places_before;
      return Status(status.code(), "place " + std::to_string(p) + ": " + status.message());
    }
    ++places_;
  }
  return Status();
}

Status DecodePlanner::AddPlace(const Target& target, std::span<const LaunchTile> tiles,
                               Shared& shared) {
  KDN_RETURN_IF_ERROR(CheckTiles(tiles));
  const std::int64_t moved = target.memory.place.moved;
  if (tiles[0].entry.scheme == TileScheme::kNested || moved != 0) {
    KDN_RETURN_IF_ERROR(CheckMoved(target.header, target.angles, moved));
  }
  Result<TilePlace> tile = PlaceOf(spec_, target.header, tiles[0].entry.at);
  if (!tile) return std::move(tile).error();
  PlaceWork work{.tiles = tiles,
                 .tile = *tile,
                 .heads = tiles[0].entry.at.kv_heads,
                 .layers = tiles[0].entry.at.layers,
                 .nested = std::nullopt,
                 .planes = std::nullopt,
                 .residual = std::nullopt};
  const TileMemory memory(target.memory, work.tile, work.heads);
  if (memory.HeldStrips() == 0) return Status();
  KDN_RETURN_IF_ERROR(memory.Check());
  const TileShape& shape = work.tile.shape;
  if (tiles[0].entry.scheme == TileScheme::kNested) {
    const ProfileId id =
        target.profile == nullptr ? ProfileId() : target.profile->image.profile().id();
    if (target.header.profile != id || (target.profile != nullptr && id.IsZero())) {
      return Refuse(Code::kInvalidArgument, "the object is coded with another profile");
    }
    if (shape.head_size % kClassWidthUnit != 0) {
      return Refuse(Code::kUnimplemented, "lossy levels need head sizes that are multiples of 16");
    }
    if (target.profile != nullptr &&
        !target.profile->image.profile().Has(work.layers, work.tile.plane, work.heads,
                                             shape.head_size)) {
      return Refuse(Code::kInvalidArgument, "the profile is that of another model");
    }
    std::vector<StripCoding> codings;
    for (std::size_t s = 0; target.profile != nullptr && s < shape.strips(); ++s) {
      const auto layer = work.layers.first + static_cast<std::uint32_t>(s / shape.heads);
      const Profile& profile = target.profile->image.profile();
      codings.push_back(
          {&profile.strip(layer, work.tile.plane, memory.HeadOf(s)), profile.coders()});
    }
    work.nested.emplace(shape, std::move(codings));
  }
  for (const LaunchTile& one : tiles) {
    bool good = true;
    if (one.entry.scheme == TileScheme::kRaw) {
      good = one.bytes.size() == shape.raw_bytes();
    } else if (one.entry.scheme == TileScheme::kNested) {
      good = work.nested->Open(one.bytes, one.bytes_dev);
    } else if (one.entry.scheme == TileScheme::kResidual) {
      good = work.residual.emplace(shape).Open(one.bytes, one.bytes_dev);
    } else {
      good = work.planes.emplace(shape).Open(one.bytes, one.bytes_dev);
    }
    if (!good) return DoesNotDecode();
  }
  const Plane plane = tiles[0].entry.at.plane;
  work.turned = target.angles != nullptr && (plane == Plane::kK || plane == Plane::kRope) &&
                spec_.rotary.pairing != RotaryPairing::kNone &&
                (work.scheme() == LaneScheme::kNested || target.memory.place.moved != 0);
  return Plan(target, work, shared);
}

void DecodePlanner::AddTurns(const Target& target, const PlaceWork& work, Shared& shared,
                             LaneStrip& strip) {
  const std::size_t dims = spec_.rotary.dims;
  const bool neox = spec_.rotary.pairing == RotaryPairing::kNeox;
  const std::int64_t moved = target.memory.place.moved;
  strip.pairs = neox ? RotaryPairs::kHalves : RotaryPairs::kNeighbours;
  strip.rotary_dims = static_cast<std::uint16_t>(dims);
  if (neox && dims / 2 % SlotChannels(work.tile.shape.dtype) != 0) strip.wide = false;
  if (strip.scheme == LaneScheme::kNested) {
    strip.turn_stride = static_cast<std::uint32_t>(dims);
    if (shared.turns == kNoOffset) {
      std::vector<float> rows(dims * target.memory.place.token_count);
      const std::uint64_t first = target.header.first_position + static_cast<std::uint64_t>(moved);
      target.angles->FillRows(first, target.memory.place.token_count, rows.data());
      shared.turns = Append(rows.data(), rows.size() * sizeof(float));
    }
    strip.turns = shared.turns;
    return;
  }
  // Bits that are exact are turned once, all by the same.
  if (shared.turn == kNoOffset) {
    std::vector<float> row(dims);
    target.angles->FillRows(static_cast<std::uint64_t>(moved < 0 ? -moved : moved), 1, row.data());
    for (std::size_t i = dims / 2; moved < 0 && i < dims; ++i) row[i] = -row[i];
    shared.turn = Append(row.data(), row.size() * sizeof(float));
  }
  strip.turns = shared.turn;
}

void DecodePlanner::AddRows(const Target& target, const PlaceWork& work, Shared& shared,
                            LaneStrip& strip) {
  const KvPool& pool = target.memory.kv.pools[work.tile.group];
  const PlaneMap& map = pool.planes[work.tile.plane];
  Shared::Rows& rows = shared.rows[work.tile.group][work.tile.plane];
  if (rows.offset == kNoOffset) {
    const std::span<const std::uint32_t> table = target.memory.blocks.tables[work.tile.group];
    std::vector<std::int64_t> offsets;
    rows.aligned = true;
    for (std::uint32_t t = 0; t < target.memory.place.token_count; ++t) {
      const std::uint64_t token = target.memory.place.first_token + t;
      const std::int64_t block = table[token / pool.block_tokens];
      const auto slot = static_cast<std::int64_t>(token % pool.block_tokens);
      offsets.push_back(block * map.block_stride + slot * map.slot_stride);
      rows.aligned = rows.aligned && offsets.back() % 16 == 0;
    }
    rows.offset = Append(offsets.data(), offsets.size() * sizeof(std::int64_t));
  }
  strip.rows = rows.offset;
  strip.dim_stride = map.dim_stride;
  strip.wide = rows.aligned &&
               map.dim_stride == static_cast<std::ptrdiff_t>(DTypeBytes(spec_.dtype)) &&
               strip.head_size % 16 == 0;
}

void DecodePlanner::AddTables(const PlaceWork& work, std::vector<std::uint32_t>& tables) {
  if (work.scheme() == LaneScheme::kNested && work.nested->own()) {
    const LaneTable table = CodeTable(work.nested->own_coder(), work.nested->levels() - 1);
    tables.push_back(Append(&table, sizeof(table)));
  }
  if (work.scheme() != LaneScheme::kBytePlanes) return;
  for (const RansModel& model : work.planes->models()) {
    RansTable decode;
    FillDecodeTable(model, decode);
    LaneTable table{};
    std::copy(std::begin(decode.slot), std::end(decode.slot), table.slot);
    tables.push_back(Append(&table, sizeof(table)));
  }
}

Status DecodePlanner::Plan(const Target& target, PlaceWork& work, Shared& shared) {
  const TileShape& shape = work.tile.shape;
  const TileMemory memory(target.memory, work.tile, work.heads);
  const KvPool& pool = target.memory.kv.pools[work.tile.group];
  const PlaneMap& map = pool.planes[work.tile.plane];
  std::vector<std::uint32_t> tables;
  AddTables(work, tables);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (!memory.Holds(s)) continue;
    const std::size_t layer = work.tile.first_layer + s / shape.heads;
    const auto head = static_cast<std::ptrdiff_t>(memory.HeadOf(s)) - pool.first_head;
    LaneStrip strip;
    strip.scheme = work.scheme();
    strip.head_size = static_cast<std::uint16_t>(shape.head_size);
    strip.stores = 1;
    AddRows(target, work, shared, strip);
    strip.head = map.base[layer] + head * map.head_stride;
    if (reinterpret_cast<std::uintptr_t>(strip.head) % 16 != 0) strip.wide = false;
    if (work.residual) {
      AddExact(target, work, s, tables, shared, strip);
      continue;
    }
    if (work.turned) AddTurns(target, work, shared, strip);
    AddStrip(target, work, s, tables, strip);
  }
  return Status();
}

void DecodePlanner::AddStrip(const Target& target, const PlaceWork& work, std::size_t s,
                             std::span<const std::uint32_t> tables, LaneStrip strip) {
  const TileShape& shape = work.tile.shape;
  std::vector<LaneRun> runs;
  std::vector<LaneBlock> blocks;
  if (strip.scheme == LaneScheme::kRaw) {
    strip.raw = work.last().bytes_dev + s * shape.strip_bytes();
    raw_ = true;
  } else if (strip.scheme == LaneScheme::kBytePlanes) {
    work.planes->Describe(s, runs, blocks);
    strip.stores =
        static_cast<std::uint8_t>(std::count_if(runs.begin(), runs.end(), [](const LaneRun& run) {
          return run.mode == LaneRunMode::kRans;
        }));
  } else {
    work.nested->Describe(s, runs, blocks);
    const std::span<const std::uint8_t> exponents = work.nested->Exponents(s);
    if (!exponents.empty()) strip.exponents = Append(exponents.data(), exponents.size());
    if (work.nested->own()) {
      strip.own = work.nested->OwnNumbers(s);
    } else {
      target.profile->image.PointAt(
          target.profile->image_dev,
          work.layers.first + static_cast<std::uint32_t>(s / shape.heads), work.tile.plane,
          work.heads.first + static_cast<std::uint32_t>(s % shape.heads), strip);
    }
    strip.zeros = std::any_of(runs.begin(), runs.end(),
                              [](const LaneRun& run) { return run.mode == LaneRunMode::kZero; });
  }
  for (LaneBlock& block : blocks) {
    block.table = strip.tables == nullptr
                      ? tables[block.table]
                      : target.profile->image.TableAt(work.nested->levels() - 1, block.table);
  }
  AddUnits(target, strip, runs, blocks);
}

void DecodePlanner::AddUnits(const Target& target, LaneStrip strip, std::span<const LaneRun> runs,
                             std::span<const LaneBlock> blocks) {
  strip.runs = Append(runs.data(), runs.size() * sizeof(LaneRun));
  strip.run_count = static_cast<std::uint32_t>(runs.size());
  std::vector<std::uint32_t> widths;
  for (const LaneRun& run : runs) {
    if (run.mode == LaneRunMode::kRans) widths.push_back(run.width);
  }
  const std::uint32_t token_bytes = std::uint32_t{strip.stores} * strip.head_size;
  LaneUnit unit;
  unit.strip = static_cast<std::uint32_t>(strips_.size());
  for (const std::uint32_t end : WindowEnds(target.header.token_count,
                                            target.memory.place.token_count, widths, token_bytes)) {
    unit.token_count = end - unit.first_token;
    unit.first_block = static_cast<std::uint32_t>(blocks_.size());
    for (const LaneBlock& block : blocks) {
      const std::uint32_t width = runs[block.run].width;
      if (block.first < end * width && block.first + block.count > unit.first_token * width) {
        blocks_.push_back(block);
      }
    }
    unit.block_count = static_cast<std::uint32_t>(blocks_.size()) - unit.first_block;
    units_.push_back(unit);
    plan_.place_of_verdict.push_back(places_);
    const auto codes = static_cast<std::uint32_t>(
        RoundUp(std::size_t{unit.token_count} * std::max(1U, token_bytes), 16));
    plan_.shape.memory.codes_bytes = std::max(plan_.shape.memory.codes_bytes, codes);
    unit.first_token = end;
  }
  if (strip.scheme == LaneScheme::kNested) {
    plan_.shape.memory.channels =
        std::max<std::uint32_t>(plan_.shape.memory.channels, strip.head_size);
    if (strip.block > 1) plan_.shape.memory.slab_bytes = kSlabBytes;
  }
  strips_.push_back(strip);
}

DecodePlan DecodePlanner::Take() {
  LanePlanHeader header;
  header.units = Append(units_.data(), units_.size() * sizeof(LaneUnit));
  header.strips = Append(strips_.data(), strips_.size() * sizeof(LaneStrip));
  header.blocks = Append(blocks_.data(), blocks_.size() * sizeof(LaneBlock));
  header.corrections = Append(corrections_.data(), corrections_.size() * sizeof(LaneCorrection));
  header.segments = Append(segments_.data(), segments_.size() * sizeof(LaneSegment));
  std::memcpy(plan_.bytes.data(), &header, sizeof(header));
  plan_.shape.segments = static_cast<std::uint32_t>(segments_.size());
  plan_.place_of_verdict.insert(plan_.place_of_verdict.end(), place_of_segment_.begin(),
                                place_of_segment_.end());
  plan_.shape.units = static_cast<std::uint32_t>(units_.size());
  std::uint32_t most = raw_ ? kTeamWarpsMax : 1;
  for (const LaneUnit& unit : units_) most = std::max(most, unit.block_count);
  plan_.shape.warps = std::min<unsigned>(most, kTeamWarpsMax);
  DecodePlan plan = std::move(plan_);
  Clear();
  return plan;
}

}  // namespace kdn::codec
