#include "tests/proto/object/golden_cases.h"

#include <cstring>
#include <functional>
#include <utility>

#include "base/limits.h"
#include "base/random.h"
#include "proto/object/object.h"
#include "proto/object/segment.h"
#include "tests/support/test_object.h"

namespace kdn::test {
namespace {

using Bytes = std::vector<std::byte>;

// Four levels, one layer group, one head group: small enough to look at.
TestObject SmallObject(LevelSet levels) {
  ObjectOptions options;
  options.size_bytes = 1200;
  options.levels = levels;
  options.header.part.layers = {0, 2};
  options.header.part.kv_heads = {0, 2};
  options.header.provenance = {ProvenanceKind::kBlended, Level::kDraft, 150};
  return MakeObject(options);
}

Bytes Flipped(Bytes bytes, std::size_t at) {
  bytes[at] ^= std::byte{0x10};
  return bytes;
}

Bytes Cut(Bytes bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

SegmentIndex IndexOf(const TestObject& object, Level level) {
  return *DecodeIndex(SegmentOf(object, level), TagOf(object.header));
}

// An index of four tiles.
SegmentIndex SmallIndex() {
  SegmentIndex index{.level = Level::kStandard, .tiles = {}};
  for (const Range layers : {Range{0, 4}, Range{4, 2}}) {
    for (const Plane plane : {Plane::kK, Plane::kV}) {
      TileEntry entry;
      entry.at = {.level = index.level, .plane = plane, .layers = layers, .kv_heads = {0, 8}};
      entry.offset = static_cast<std::uint32_t>(index.TileBytes());
      entry.size_bytes = 1000 + entry.offset % 9;
      entry.checksum.bytes.fill(static_cast<std::byte>(index.tiles.size() + 1));
      index.tiles.push_back(entry);
    }
  }
  return index;
}

Bytes SpoiltIndex(const std::function<void(std::vector<TileEntry>&)>& spoil) {
  SegmentIndex index = SmallIndex();
  spoil(index.tiles);
  return EncodeIndex(index, GoldenTag());
}

Bytes ToVector(const HeaderBytes& header) {
  return {header.begin(), header.end()};
}

void AddHeaders(std::vector<GoldenCase>& cases) {
  const Bytes full = ToVector(EncodeHeader(GoldenHeader()));
  ObjectHeader beyond = GoldenHeader();
  beyond.part.number = beyond.part.count;
  Bytes newer = full;
  newer[8] = std::byte{kObjectFormatVersion + 1};
  cases.push_back({"header", "full", full});
  cases.push_back({"header", "bad_bit_flip", Flipped(full, 100), Code::kDataLoss, "checksum"});
  cases.push_back({"header", "bad_cut", Cut(full, 383), Code::kDataLoss, "cut"});
  cases.push_back({"header", "bad_magic", Flipped(full, 0), Code::kDataLoss, "no object"});
  cases.push_back({"header", "newer_format", newer, Code::kUnimplemented, "format 2"});
  cases.push_back({"header", "bad_part", ToVector(EncodeHeader(beyond)), Code::kDataLoss, "part"});
}

void AddIndices(std::vector<GoldenCase>& cases) {
  const Bytes small = EncodeIndex(SmallIndex(), GoldenTag());
  ObjectTag other_put = GoldenTag();
  other_put.bytes[15] ^= std::byte{1};
  Bytes oversize = small;
  std::memset(oversize.data() + 8, 0xFF, 4);
  const auto add = [&cases](std::string_view name, Bytes bytes, std::string_view message) {
    cases.push_back({"index", name, std::move(bytes), Code::kDataLoss, message});
  };
  cases.push_back({"index", "four_tiles", small});
  add("bad_bit_flip", Flipped(small, 60), "checksum");
  add("bad_cut", Cut(small, small.size() - 1), "cut");
  add("bad_count_oversize", oversize, "no index");
  add("bad_other_put", EncodeIndex(SmallIndex(), other_put), "checksum");
  add("bad_gap", SpoiltIndex([](auto& tiles) { tiles[2].offset += 1; }), "does not follow");
  add("bad_overlapping_offsets", SpoiltIndex([](auto& tiles) { tiles[2].offset -= 1; }),
      "does not follow");
  add("bad_order", SpoiltIndex([](auto& tiles) { std::swap(tiles[0].at, tiles[2].at); }),
      "out of order");
  add("bad_tile_oversize",
      SpoiltIndex([](auto& tiles) { tiles[3].size_bytes = limits::kTileBytesMax + 1; }),
      "out of bounds");
}

void AddModelSpecs(std::vector<GoldenCase>& cases) {
  const Bytes hybrid = EncodeModelSpec(GoldenModelSpec());
  ModelSpec missing_layer = GoldenModelSpec();
  missing_layer.groups[2].layers = {7};
  cases.push_back({"model_spec", "hybrid", hybrid});
  cases.push_back(
      {"model_spec", "bad_cut", Cut(hybrid, hybrid.size() - 1), Code::kDataLoss, "malformed"});
  cases.push_back({"model_spec", "bad_missing_layer", EncodeModelSpec(missing_layer),
                   Code::kDataLoss, "in no group"});
}

void AddObjects(std::vector<GoldenCase>& cases) {
  const TestObject alone = SmallObject(Level::kExact);
  const TestObject levels = SmallObject(kAllLevels);
  const std::size_t fine_end = levels.bytes.size() - levels.header.level_bytes[3];
  const std::size_t index_bytes = IndexOf(levels, Level::kDraft).IndexBytes();
  const std::size_t first_tile = kObjectHeaderBytes + index_bytes;

  // The tile is intact, but from elsewhere in the same object.
  Bytes moved_tile = levels.bytes;
  const SegmentIndex draft = IndexOf(levels, Level::kDraft);
  std::memcpy(moved_tile.data() + first_tile,
              levels.bytes.data() + first_tile + draft.tiles[1].offset, draft.tiles[0].size_bytes);

  // Two segments of the same put change places.
  Bytes other_order(levels.bytes.begin(), levels.bytes.begin() + kObjectHeaderBytes);
  for (const Level level : {Level::kStandard, Level::kDraft, Level::kFine, Level::kExact}) {
    const ConstBytes segment = SegmentOf(levels, level);
    other_order.insert(other_order.end(), segment.begin(), segment.end());
  }
  Bytes longer = alone.bytes;
  longer.push_back(std::byte{0});

  const auto add = [&cases](std::string_view name, Bytes bytes, std::string_view message) {
    cases.push_back({"object", name, std::move(bytes), Code::kDataLoss, message});
  };
  cases.push_back({"object", "exact_alone", alone.bytes});
  cases.push_back({"object", "four_levels", levels.bytes});
  cases.push_back({"object", "cut_after_fine", Cut(levels.bytes, fine_end)});
  add("bad_header_bit_flip", Flipped(levels.bytes, 40), "header checksum");
  add("bad_index_bit_flip", Flipped(levels.bytes, kObjectHeaderBytes + 40), "index checksum");
  add("bad_tile_bit_flip", Flipped(levels.bytes, first_tile), "checksum of tile 0");
  add("bad_cut_in_header", Cut(levels.bytes, 200), "header is cut");
  add("bad_cut_after_header", Cut(levels.bytes, kObjectHeaderBytes), "no segments");
  add("bad_cut_in_segment", Cut(levels.bytes, fine_end + 1), "segment is cut");
  add("bad_trailing_byte", std::move(longer), "bytes after the last segment");
  add("bad_moved_tile", std::move(moved_tile), "checksum of tile 0");
  add("bad_segment_order", std::move(other_order), "another level");
}

}  // namespace

ObjectTag GoldenTag() {
  SeededRandom random(42);
  return RandomId<ObjectTag>(random);
}

ObjectHeader GoldenHeader() {
  SeededRandom random(5);
  ObjectHeader header;
  header.flags = kFlagCodedRotated | kFlagSealed;
  header.tenant = TenantId{0x1122334455667788U};
  header.secret = SecretId{0x99AABBCCU};
  header.key = RandomId<ChunkKey>(random);
  header.parent = RandomId<ChunkKey>(random);
  header.chain_root = RandomId<ChunkKey>(random);
  header.match_hash = MatchHash{0xDDEEFF0102030405U};
  header.put_id = RandomId<PutId>(random);
  header.model = RandomId<ModelFingerprint>(random);
  header.profile = RandomId<ProfileId>(random);
  header.part = {.number = 2, .count = 4, .layers = {16, 24}, .kv_heads = {8, 12}};
  header.layers_per_group = 5;
  header.heads_per_group = 6;
  header.token_count = 777;
  header.first_position = 123456789;
  header.provenance = {ProvenanceKind::kLossy, Level::kStandard, 0};
  header.dtype = DType::kFp8E4M3;
  header.levels_encoded = kAllLevels;
  header.level_bytes = {1001, 2002, 3003, 4004};
  return header;
}

ModelSpec GoldenModelSpec() {
  ModelSpec spec;
  spec.name = "test/hybrid";
  spec.revision = "0123abcd";
  spec.dtype = DType::kFp8E4M3;
  spec.k_scale = 0.5F;
  spec.v_scale = 0.25F;
  spec.rotary = {.pairing = RotaryPairing::kNeox,
                 .scaling = RotaryScaling::kLlama3,
                 .dims = 64,
                 .base = 500000.0,
                 .factor = 8.0,
                 .low_frequency_factor = 1.0,
                 .high_frequency_factor = 4.0,
                 .original_context = 8192.0};
  spec.groups = {
      {AttentionKind::kGrouped, {0, 2}, 8, 128, 96, 4096},
      {AttentionKind::kLatent, {1, 4}, 1, 512, 64, 0},
      {AttentionKind::kState, {3}, 1, 1024, 0, 0},
  };
  return spec;
}

std::vector<GoldenCase> GoldenCases() {
  std::vector<GoldenCase> cases;
  AddHeaders(cases);
  AddIndices(cases);
  AddModelSpecs(cases);
  AddObjects(cases);
  return cases;
}

Status DecodeGolden(const GoldenCase& golden) {
  const auto status_of = [](const auto& result) { return result ? Status() : result.error(); };
  if (golden.parser == "header") return status_of(DecodeHeader(golden.bytes));
  if (golden.parser == "index") return status_of(DecodeIndex(golden.bytes, GoldenTag()));
  if (golden.parser == "model_spec") return status_of(DecodeModelSpec(golden.bytes));
  return status_of(VerifyObject(golden.bytes));
}

}  // namespace kdn::test
