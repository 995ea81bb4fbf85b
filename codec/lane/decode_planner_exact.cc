// Of DecodePlanner: exact on top of fine.
#include <algorithm>

#include "codec/lane/decode_planner_work.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {

std::uint64_t DecodePlanner::Keep(std::size_t size) {
  const std::uint64_t at = plan_.shape.workspace_bytes;
  plan_.shape.workspace_bytes += RoundUp(size, 16);
  return at;
}

void DecodePlanner::AddExact(const Target& target, const PlaceWork& work, std::size_t s,
                             std::span<const std::uint32_t> tables, Shared& shared,
                             LaneStrip where) {
  const TileShape& shape = work.tile.shape;
  LaneCorrection correction;
  correction.wanted = target.memory.place.token_count;
  correction.first_unit = static_cast<std::uint32_t>(units_.size());
  // Bits follow one another through all tokens, and what they correct is where they were coded.
  const ChunkPlace all{.first_token = 0, .token_count = shape.tokens};
  const Target coded{
      target.header, {target.memory.kv, target.memory.blocks, all}, target.profile, target.angles};
  if (shared.coded == nullptr) shared.coded = std::make_unique<Shared>();

  LaneStrip fine;
  fine.scheme = LaneScheme::kNested;
  fine.head_size = where.head_size;
  fine.stores = 1;
  fine.wide = true;
  fine.kept = true;
  fine.kept_at = correction.predicted = Keep(shape.strip_bytes());
  const std::size_t row_bytes = shape.head_size * DTypeBytes(shape.dtype);
  fine.dim_stride = static_cast<std::int64_t>(DTypeBytes(shape.dtype));
  auto [rows, is_new] = shared.kept_rows.try_emplace(row_bytes, 0);
  if (is_new) {
    std::vector<std::int64_t> offsets;
    for (std::size_t t = 0; t < shape.tokens; ++t) {
      offsets.push_back(static_cast<std::int64_t>(t * row_bytes));
    }
    rows->second = Append(offsets.data(), offsets.size() * sizeof(std::int64_t));
  }
  fine.rows = rows->second;
  if (work.turned) AddTurns(coded, work, *shared.coded, fine);
  AddStrip(coded, work, s, tables, fine);

  LaneStrip symbols;
  symbols.scheme = LaneScheme::kSymbols;
  symbols.head_size = where.head_size;
  symbols.stores = 1;
  symbols.kept = true;
  symbols.kept_at = correction.symbols = Keep(shape.strip_values());
  const ResidualDirectory::Strip& residual = work.residual->strip(s);
  std::vector<LaneRun> runs;
  std::vector<LaneBlock> blocks;
  work.residual->Describe(s, runs, blocks);
  const LaneTable table = SymbolTableOf(residual.model);
  const std::uint32_t table_at = Append(&table, sizeof(table));
  for (LaneBlock& block : blocks) block.table = table_at;
  AddUnits(coded, symbols, runs, blocks);

  where.scheme = LaneScheme::kRaw;
  if (work.turned && target.memory.place.moved != 0) AddTurns(target, work, shared, where);
  correction.where = where;
  correction.unit_count = static_cast<std::uint32_t>(units_.size()) - correction.first_unit;
  correction.spreads = residual.spreads;
  correction.bits = residual.bits;
  correction.bits_bytes = residual.bits_bytes;
  correction.escapes = residual.escapes;
  correction.escapes_bytes = residual.escapes_bytes;
  AddSegments(correction, shape.tokens);
}

void DecodePlanner::AddSegments(LaneCorrection correction, std::uint32_t tokens) {
  const std::uint32_t each = std::max(1U, kSegmentValues / correction.where.head_size);
  correction.first_segment = static_cast<std::uint32_t>(segments_.size());
  for (std::uint32_t first = 0; first < tokens; first += each) {
    segments_.push_back({.correction = static_cast<std::uint32_t>(corrections_.size()),
                         .first_token = first,
                         .token_count = std::min(each, tokens - first)});
    place_of_segment_.push_back(places_);
  }
  correction.segment_count =
      static_cast<std::uint32_t>(segments_.size()) - correction.first_segment;
  correction.sums = Keep(correction.segment_count * sizeof(std::uint64_t));
  corrections_.push_back(correction);
}

}  // namespace kdn::codec
