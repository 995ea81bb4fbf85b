#include "tests/codec/golden_levels.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "codec/profile_learner.h"
#include "proto/object/checksum.h"
#include "proto/object/object.h"
#include "tests/proto/object/repair.h"

namespace kdn::codec {
namespace {

using Bytes = std::vector<std::byte>;

// One level's segment of a whole object.
MutableBytes SegmentOf(Bytes& object, Level level) {
  const ObjectLayout layout = LayoutOf(object).value();
  const auto l = static_cast<std::size_t>(level);
  return MutableBytes(object).subspan(layout.offset[l], layout.header.level_bytes[l]);
}

// Changes a segment and puts its checksums right again.
void ChangeTiles(Bytes& object, Level level,
                 const std::function<void(MutableBytes segment, std::size_t tiles)>& change) {
  const MutableBytes segment = SegmentOf(object, level);
  const ObjectTag tag = TagOf(LayoutOf(object).value().header);
  const SegmentIndex index = DecodeIndex(segment, tag).value();
  change(segment, index.IndexBytes());
  test::RepairTiles(segment, tag);
}

void Put32(MutableBytes at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}
std::uint32_t Get32(ConstBytes at) {
  ByteReader in(at);
  return in.Integer<std::uint32_t>();
}

// The first tile ends 16 bytes later, the second is so much shorter.
void MoveBorder(MutableBytes segment) {
  constexpr std::size_t kSize = 12;  // in an entry
  constexpr std::size_t kOffset = 16;
  const MutableBytes first = segment.subspan(kIndexHeadBytes, kTileEntryBytes);
  const MutableBytes second = segment.subspan(kIndexHeadBytes + kTileEntryBytes, kTileEntryBytes);
  Put32(first.subspan(kSize), Get32(first.subspan(kSize)) + 16);
  Put32(second.subspan(kSize), Get32(second.subspan(kSize)) - 16);
  Put32(second.subspan(kOffset), Get32(second.subspan(kOffset)) + 16);
}

void SwapSegments(Bytes& object) {
  ObjectLayout layout = LayoutOf(object).value();
  const auto draft = SegmentOf(object, Level::kDraft);
  const auto standard = SegmentOf(object, Level::kStandard);
  Bytes swapped(standard.begin(), standard.end());
  swapped.insert(swapped.end(), draft.begin(), draft.end());
  std::copy(swapped.begin(), swapped.end(), draft.begin());
  std::swap(layout.header.level_bytes[0], layout.header.level_bytes[1]);
  const HeaderBytes header = EncodeHeader(layout.header);
  std::copy(header.begin(), header.end(), object.begin());
}

void Flip(std::byte& b) {
  b ^= std::byte{1};
}

// The first tile says that it is of another scheme.
auto SaysIt(TileScheme is) {
  return [is](MutableBytes segment, std::size_t) {
    segment[kIndexHeadBytes + 9] = static_cast<std::byte>(is);
  };
}

std::vector<GoldenLevelDamage> MakeDamages() {
  const auto change = [](Level level, auto how) {
    return [level, how](Bytes& object) { ChangeTiles(object, level, how); };
  };
  // Where the size of the first block is said: behind own codings of 32 channels and no
  // exponents.
  const auto first_size = [](ConstBytes segment, std::size_t tiles) {
    return tiles + 2 + static_cast<std::size_t>(segment[tiles + 1]) + 4 * 32 + 2;
  };
  const auto draft_words = [first_size](MutableBytes segment, std::size_t tiles) {
    segment[first_size(segment, tiles) + 1] = std::byte{0x40};
  };
  const auto draft_tail = [first_size](MutableBytes segment, std::size_t tiles) {
    segment[first_size(segment, tiles) + 2] = std::byte{0xFF};
  };
  return {
      {"broken_tile_checksum", [](Bytes& object) { Flip(object.back()); }, Code::kDataLoss, false},
      {"broken_index_checksum",
       [](Bytes& object) { Flip(SegmentOf(object, Level::kFine)[kIndexHeadBytes + 12]); },
       Code::kDataLoss, false},
      {"broken_segment_order", SwapSegments, Code::kDataLoss, false},
      {"broken_cut_in_segment",
       [](Bytes& object) { object.erase(object.end() - 16, object.end()); }, Code::kDataLoss,
       false},
      {"broken_length_header",
       [](Bytes& object) {
         ObjectLayout layout = LayoutOf(object).value();
         layout.header.level_bytes[1] += 16;
         layout.header.level_bytes[2] -= 16;
         const HeaderBytes header = EncodeHeader(layout.header);
         std::copy(header.begin(), header.end(), object.begin());
       },
       Code::kDataLoss, false},
      {"broken_length_tile",
       change(Level::kStandard, [](MutableBytes segment, std::size_t) { MoveBorder(segment); }),
       Code::kDataLoss, true},
      {"broken_length_words", change(Level::kDraft, draft_words), Code::kDataLoss, true},
      {"broken_length_tail", change(Level::kDraft, draft_tail), Code::kDataLoss, true},
      {"broken_own_table",
       change(Level::kDraft,
              [](MutableBytes segment, std::size_t tiles) { Flip(segment[tiles + 3]); }),
       Code::kDataLoss, true},
      {"broken_own_scale",  // not a number
       change(Level::kDraft,
              [](MutableBytes segment, std::size_t tiles) {
                const std::size_t symbols = static_cast<std::size_t>(segment[tiles + 1]);
                segment[tiles + 2 + symbols] = segment[tiles + 3 + symbols] = std::byte{0xFF};
              }),
       Code::kDataLoss, true},
      {"broken_residual_table",
       change(Level::kExact,
              [](MutableBytes segment, std::size_t tiles) { Flip(segment[tiles + 32 + 2]); }),
       Code::kDataLoss, true},
      {"broken_scheme",  // fine says that it is raw
       change(Level::kFine, SaysIt(TileScheme::kRaw)), Code::kInvalidArgument, true},
      {"broken_exact_scheme",  // exact says that it is bins, as its coarser levels are
       change(Level::kExact, SaysIt(TileScheme::kNested)), Code::kInvalidArgument, true},
      {"broken_wants_profile",
       [](Bytes& object) {
         ObjectHeader header = DecodeHeader(object).value();
         header.profile.bytes[0] = std::byte{3};
         const HeaderBytes bytes = EncodeHeader(header);
         std::copy(bytes.begin(), bytes.end(), object.begin());
       },
       Code::kInvalidArgument, true},
  };
}

}  // namespace

const std::vector<GoldenObject>& GoldenObjects() {
  static const std::vector<GoldenObject> objects = {
      {.name = "bf16_profile", .profile = true},
      // Bins of 0.8 of a deviation.
      {.name = "bf16", .written = false},
      {.name = "fp16", .dtype = DType::kFp16, .written = false},
      {.name = "fp32", .dtype = DType::kFp32, .written = false},
      {.name = "fp8_e4m3", .dtype = DType::kFp8E4M3, .written = false},
      {.name = "fp8_e5m2", .dtype = DType::kFp8E5M2, .written = false},
      {.name = "bf16_layers", .layers = 3, .written = false},
      {.name = "bf16_long", .tokens = 75, .written = false},  // states take bytes
      {.name = "latent", .attention = AttentionKind::kLatent, .written = false},
      // Of 0.625.
      {.name = "bf16_narrow"},
      {.name = "fp16_narrow", .dtype = DType::kFp16},
      {.name = "fp32_narrow", .dtype = DType::kFp32},
      {.name = "fp8_e4m3_narrow", .dtype = DType::kFp8E4M3},
      {.name = "fp8_e5m2_narrow", .dtype = DType::kFp8E5M2},
      {.name = "bf16_layers_narrow", .layers = 3},
      {.name = "bf16_long_narrow", .tokens = 75},
      {.name = "latent_narrow", .attention = AttentionKind::kLatent},
  };
  return objects;
}

ModelSpec SpecOf(const GoldenObject& golden) {
  const bool latent = golden.attention == AttentionKind::kLatent;
  ModelSpec spec;
  spec.name = "golden";
  spec.dtype = golden.dtype;
  spec.rotary = {
      .pairing = latent ? RotaryPairing::kGptJ : RotaryPairing::kNeox, .dims = 32, .base = 10000.0};
  spec.groups.push_back({.attention = golden.attention,
                         .layers = {},
                         .kv_heads = 1,
                         .k_head_size = static_cast<std::uint16_t>(latent ? 64 : 32),
                         .v_head_size = 32});
  for (std::uint16_t l = 0; l < golden.layers; ++l) spec.groups[0].layers.push_back(l);
  return spec;
}

ChunkWorld WorldOf(const GoldenObject& golden) {
  return ChunkWorld(SpecOf(golden), golden.tokens);
}

Profile LearnGoldenProfile() {
  const ModelSpec spec = SpecOf(GoldenObjects()[0]);
  ChunkWorld world(spec, 256);
  ProfileLearner learner = ProfileLearner::Make(spec).value();
  (void)learner.Add(world.kv(), world.tables(), world.place(), world.header.first_position);
  return learner.Learn(world.header.model, {.draft_bits = 1.0, .block = 32, .weights = {}}).value();
}

std::string DigestOf(const ChunkWorld::Memories& memory) {
  Bytes all;
  for (const auto& tensor : memory) all.insert(all.end(), tensor.begin(), tensor.end());
  std::string text;
  for (const std::byte b : ChecksumOf(all).bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<unsigned>(b) >> 4];
    text += kDigits[static_cast<unsigned>(b) & 15];
  }
  return text;
}

const std::vector<GoldenLevelDamage>& GoldenLevelDamages() {
  static const std::vector<GoldenLevelDamage> damages = MakeDamages();
  return damages;
}

const std::vector<GoldenProfileDamage>& GoldenProfileDamages() {
  constexpr std::size_t kFirstTable = 4 + 2 + 2 + 32;
  static const std::vector<GoldenProfileDamage> damages = {
      {"broken_magic.profile", [](Bytes& p) { Flip(p[0]); }, Code::kDataLoss},
      {"broken_newer.profile", [](Bytes& p) { p[4] = std::byte{2}; }, Code::kUnimplemented},
      {"broken_cut.profile", [](Bytes& p) { p.pop_back(); }, Code::kDataLoss},
      {"broken_extended.profile", [](Bytes& p) { p.push_back(std::byte{0}); }, Code::kDataLoss},
      // A frequency that is not 0 and lets the others fill one slot less, or more.
      {"broken_table_sum.profile", [](Bytes& p) { p[kFirstTable + 3] = std::byte{2}; },
       Code::kDataLoss},
      {"broken_table_zero.profile", [](Bytes& p) { p[kFirstTable + 2] = std::byte{0}; },
       Code::kDataLoss},
      {"broken_table_large.profile", [](Bytes& p) { p[kFirstTable + 1] = std::byte{65}; },
       Code::kDataLoss},
      {"broken_scale.profile", [](Bytes& p) { p.back() = std::byte{0x7F}; }, Code::kDataLoss},
  };
  return damages;
}

std::string GoldenPath(std::string_view file) {
  return std::string(KDN_GOLDEN_LEVELS_DIR "/") + std::string(file);
}

std::vector<std::byte> ReadGoldenFile(std::string_view file) {
  std::ifstream in(GoldenPath(file), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

}  // namespace kdn::codec
