// Goal: what the lossy levels cannot code is refused with the right code before anything is written
// or read out of bounds: head sizes, positions, profiles of other models; and no bytes make
// decoding do more work than the tile's shape allows.
#include <gtest/gtest.h>

#include <limits>

#include "base/random.h"
#include "codec/rotary.h"
#include "tests/codec/chunk_world.h"
#include "tests/codec/counted_kernels.h"
#include "tests/codec/one_tile.h"

namespace kdn::codec {
namespace {

ModelSpec Spec(std::uint16_t head_size, std::uint16_t layers = 2, std::uint16_t heads = 2) {
  ModelSpec spec;
  spec.name = "refusal";
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 16, .base = 10000.0};
  spec.groups.push_back(
      {.layers = {}, .kv_heads = heads, .k_head_size = head_size, .v_head_size = 32});
  for (std::uint16_t l = 0; l < layers; ++l) spec.groups[0].layers.push_back(l);
  return spec;
}

TEST(LevelsRefusal, HeadSizesThatAreNoMultipleOf16HaveExactAlone) {
  ChunkWorld world(Spec(40), 9);
  EXPECT_EQ(world.Encode(nullptr).error().code(), Code::kUnimplemented);
  world.header.levels_encoded = Level::kExact;
  const auto alone = world.Encode(nullptr).value();
  EXPECT_TRUE(world.Decode(OpenObject(alone).value(), 1, nullptr).value() == world.original());
  // Tiles that nobody can have written.
  OpenedObject forged = OpenObject(alone).value();
  for (PlaceTiles& tiles : forged.places) {
    tiles[0].entry.at.level = Level::kDraft;
    tiles[0].entry.scheme = TileScheme::kNested;
  }
  EXPECT_EQ(world.Decode(forged, 1, nullptr).error().code(), Code::kUnimplemented);
}

TEST(LevelsRefusal, PositionsAreBounded) {
  ChunkWorld world(Spec(32), 9);
  const auto object = world.Encode(nullptr).value();
  const OpenedObject opened = OpenObject(object).value();
  const auto last = static_cast<std::int64_t>(kPositionsMax - 9 - world.header.first_position);
  EXPECT_TRUE(world.Decode(opened, 1, nullptr, last).has_value());
  for (const std::int64_t moved :
       {last + 1, std::int64_t{-41}, std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max()}) {
    for (const std::size_t levels : {1U, 4U}) {
      const auto memory = world.Decode(opened, levels, nullptr, moved);
      ASSERT_FALSE(memory.has_value()) << moved;
      EXPECT_EQ(memory.error().code(), Code::kInvalidArgument) << moved;
    }
  }
  OpenedObject far = opened;
  far.header.first_position = kPositionsMax - 8;
  EXPECT_EQ(world.Decode(far, 1, nullptr).error().code(), Code::kInvalidArgument);
  world.header.first_position = kPositionsMax - 8;
  EXPECT_EQ(world.Encode(nullptr).error().code(), Code::kInvalidArgument);
}

TEST(LevelsRefusal, ProfilesOfOtherModelsAreRefused) {
  ChunkWorld world(Spec(32), 9);
  const Profile own = MadeProfile(world.spec(), 1);
  const auto object = world.Encode(&own).value();
  const OpenedObject opened = OpenObject(object).value();
  ASSERT_TRUE(world.Decode(opened, 4, &own).has_value());
  for (const ModelSpec& other : {Spec(48), Spec(32, 1), Spec(32, 2, 1)}) {
    const Profile foreign = MadeProfile(other, 1);
    EXPECT_EQ(world.Encode(&foreign).error().code(), Code::kInvalidArgument);
    // Where there are strips of that size, what they make of the bytes is damage or values.
    std::size_t refused = 0;
    for (const PlaceTiles& tiles : opened.places) {
      const OpenedObject part{.header = opened.header, .places = {tiles}};
      const auto memory = world.Decode(part, 1, &foreign);
      if (!memory && memory.error().code() != Code::kDataLoss) {
        EXPECT_EQ(memory.error().code(), Code::kInvalidArgument);
        ++refused;
      }
    }
    EXPECT_GT(refused, 0U);
  }
  EXPECT_EQ(world.Decode(opened, 1, nullptr).error().code(), Code::kInvalidArgument);
}

// A scale that has no place in a float when it is inverted.
TEST(LevelsRefusal, ProfilesThatCannotEncodeSaySo) {
  const ModelSpec spec = Spec(32, 1, 1);
  const Profile good = MadeProfile(spec, 1);
  for (const std::uint32_t scale : {0U, 1U}) {  // zero; the smallest denormal
    std::vector<std::byte> bytes = good.bytes();
    std::memcpy(bytes.data() + bytes.size() - sizeof(scale), &scale, sizeof(scale));
    Profile profile = Profile::Decode(spec, bytes).value();
    EXPECT_EQ(profile.FinishForEncoding().code(), Code::kInvalidArgument) << scale;
  }
}

// Damaged tiles of every kind, by the scalar kernels, which count what they are asked.
TEST(LevelsRefusal, HostileBytesCostNoMoreWorkThanTheShape) {
  SeededRandom random(7);
  const TileOptions options{.heads = 2, .tokens = 40, .head_size = 48};
  OneTile one(options);
  const Profile profile = MadeProfile(one.spec(), 2);
  const std::size_t values = one.shape().values();
  for (const Profile* with : {static_cast<const Profile*>(nullptr), &profile}) {
    random.Fill(one.memory());
    TileScheme exact = TileScheme::kRaw;
    const LevelTiles good = one.Encode(kScalarKernels, with, Level::kExact, exact);
    std::size_t decoded = 0;
    for (int trial = 0; trial < 3000; ++trial) {
      LevelTiles bad = good;
      std::vector<std::byte>& tile = bad[random.Next() % kLevelCount];
      for (std::uint64_t changes = random.Next() % 3; changes > 0; --changes) {
        // Most of the lies are told by directories.
        const std::size_t near = trial % 2 == 0 ? std::min<std::size_t>(tile.size(), 600) : 0;
        tile[random.Next() % (near == 0 ? tile.size() : near)] =
            static_cast<std::byte>(random.Next());
      }
      if (random.Next() % 8 == 0) tile.resize(random.Next() % (tile.size() + 1));
      const std::vector<ConstBytes> views(bad.begin(), bad.end());
      const std::size_t levels = 1 + random.Next() % kLevelCount;
      (void)TakeWork();
      const Status status =
          one.Decode(kCountedKernels, with, one.TilesOf(std::span(views).first(levels), exact), 0);
      const KernelWork work = TakeWork();
      decoded += status.ok() ? 1 : 0;
      ASSERT_TRUE(status.ok() || status.code() == Code::kDataLoss) << status.ToString();
      ASSERT_LE(work.symbols, 2 * values);
      ASSERT_LE(work.codes, values);
      ASSERT_LE(work.values, values);
      ASSERT_LE(work.products, values * kMatrixBlockMax);
    }
    EXPECT_GT(decoded, 300U);
    EXPECT_LT(decoded, 2900U);
  }
}

// Nothing of its components is coded at any level: all there is are means.
Profile SilentProfile(const ModelSpec& spec) {
  Profile::Parts parts;
  SymbolTable& table = parts.tables.emplace_back();
  table.model.count = 2;
  table.model.symbol = {32, 33};
  table.model.frequency = {128, 128};
  for (std::uint32_t l = 0; l < LayerCount(spec); ++l) {
    const KvGroup& group = GroupOfLayer(spec, l);
    for (const std::uint16_t channels : {group.k_head_size, group.v_head_size}) {
      for (std::size_t head = 0; head < group.kv_heads; ++head) {
        StripProfile& strip = parts.strips.emplace_back();
        strip.classes = {{.width = channels, .start = kLossyLevels}};
        strip.mean.assign(channels, 0.0F);
        strip.scale.assign(channels, 1.0F);
      }
    }
  }
  Profile profile = Profile::Make(spec, std::move(parts)).value();
  EXPECT_TRUE(profile.FinishForEncoding().ok());
  return profile;
}

// Values that never change take next to no bytes, and any header may say that there are 4,096
// tokens of them: what they cost is what is written of them.
TEST(LevelsRefusal, WorkIsBoundedByBytesAndByWhatIsWritten) {
  TileOptions options{.heads = 2, .tokens = 4096, .head_size = 64};
  OneTile whole(options);
  const Profile silent = SilentProfile(whole.spec());
  const Profile made = MadeProfile(whole.spec(), 3);
  std::size_t smallest = ~std::size_t{0};
  for (const Profile* with : {static_cast<const Profile*>(nullptr), &silent, &made}) {
    TileScheme exact = TileScheme::kRaw;
    const LevelTiles tiles = whole.Encode(kScalarKernels, with, Level::kExact, exact);
    const std::vector<ConstBytes> views(tiles.begin(), tiles.end());
    for (const std::uint32_t tokens : {1U, 65U, 4096U}) {
      options.dims_apart = tokens == 65;
      OneTile wanted(options, tokens);
      const std::size_t written = wanted.shape().strips() * tokens * options.head_size;
      for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
        std::size_t bytes = 0;
        for (std::size_t l = 0; l < levels; ++l) bytes += views[l].size();
        (void)TakeWork();
        ASSERT_TRUE(wanted
                        .Decode(kCountedKernels, with,
                                wanted.TilesOf(std::span(views).first(levels), exact), 0)
                        .ok());
        const KernelWork work = TakeWork();
        ASSERT_LE(work.symbols, kTileSymbolsPerByteMax * bytes);
        const bool residual = levels == kLevelCount && exact == TileScheme::kResidual;
        const std::size_t bound = written + (residual ? work.symbols : 0);
        ASSERT_LE(work.values, bound) << tokens << " tokens, " << levels << " levels";
        ASSERT_LE(work.codes, bound);
        ASSERT_LE(work.products, bound * kMatrixBlockMax);
        smallest = std::min(smallest, bytes);
      }
    }
  }
  EXPECT_EQ(smallest, 4U);  // two strips without exponents
}

}  // namespace
}  // namespace kdn::codec
