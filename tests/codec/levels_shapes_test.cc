// Goal: the lossy levels work for every shape of input: head sizes, chunk lengths, few and many
// heads, large biases of keys, latents with their rotary part. Method: values of known spread
// through whole objects; errors against the spread, all kernel tables against each other.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "codec/kernels/select.h"
#include "codec/profile_learner.h"
#include "tests/codec/chunk_world.h"
#include "tests/codec/one_tile.h"
#include "tests/codec/profile_ids.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

ModelSpec Grouped(std::uint16_t head_size, std::uint16_t heads, DType dtype = DType::kBf16) {
  ModelSpec spec;
  spec.name = "shapes";
  spec.dtype = dtype;
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = head_size, .base = 10000.0};
  spec.groups.push_back(
      {.layers = {0}, .kv_heads = heads, .k_head_size = head_size, .v_head_size = head_size});
  return spec;
}

// Encodes and decodes at each level by every kernel table: the same bits, each level closer than
// the one before, exact is exact.
void ExpectLevels(ChunkWorld& world, const Profile* profile) {
  const auto object = world.Encode(profile);
  ASSERT_TRUE(object.has_value()) << object.error().ToString();
  const OpenedObject opened = OpenObject(*object).value();
  double before[2] = {1e30, 1e30};
  for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
    const auto memory = world.Decode(opened, levels, profile, 0, "scalar");
    ASSERT_TRUE(memory.has_value()) << memory.error().ToString();
    for (const Kernels* kernels : SupportedKernels()) {
      EXPECT_TRUE(world.Decode(opened, levels, profile, 0, kernels->name).value() == *memory)
          << kernels->name << ", " << levels << " levels";
    }
    for (std::size_t plane = 0; plane < 2; ++plane) {
      const double error = world.ErrorOf(*memory, plane);
      // The values of so few tokens lie where draft's bins have their numbers.
      if (levels < kLevelCount && world.header.token_count < 4) continue;
      EXPECT_LE(error, before[plane]) << "plane " << plane << ", " << levels << " levels";
      before[plane] = error;
    }
  }
  EXPECT_EQ(before[0], 0.0);
  EXPECT_EQ(before[1], 0.0);
}

TEST(LevelsShapes, EveryHeadSizeWorks) {
  std::uint32_t tokens = 17;
  for (std::uint16_t head_size = 32; head_size <= 256; head_size += 16, tokens += 9) {
    SCOPED_TRACE(std::to_string(head_size) + " channels, " + std::to_string(tokens) + " tokens");
    ChunkWorld world(Grouped(head_size, 1), tokens);
    ExpectLevels(world, nullptr);
    const Profile profile = MadeProfile(world.spec(), head_size);
    ASSERT_TRUE(world.Encode(&profile).has_value());
    const auto object = world.Encode(&profile).value();
    const OpenedObject opened = OpenObject(object).value();
    for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
      const auto memory = world.Decode(opened, levels, &profile, 3, "scalar").value();
      for (const Kernels* kernels : SupportedKernels()) {
        EXPECT_TRUE(world.Decode(opened, levels, &profile, 3, kernels->name).value() == memory)
            << kernels->name << ", " << levels << " levels, with a profile";
      }
    }
    EXPECT_TRUE(world.Decode(opened, kLevelCount, &profile).value() == world.original());
  }
}

TEST(LevelsShapes, EveryChunkLengthWorks) {
  for (const std::uint32_t tokens :
       {1U, 2U, 7U, 15U, 16U, 31U, 33U, 63U, 64U, 100U, 128U, 200U, 255U, 256U, 257U, 1000U}) {
    SCOPED_TRACE(tokens);
    ChunkWorld world(Grouped(64, 1), tokens);
    ExpectLevels(world, nullptr);
    const Profile profile = MadeProfile(world.spec(), tokens);
    const auto object = world.Encode(&profile).value();
    EXPECT_TRUE(world.Decode(OpenObject(object).value(), kLevelCount, &profile).value() ==
                world.original());
  }
}

TEST(LevelsShapes, TheLongestChunkWorks) {
  ChunkWorld world(Grouped(32, 1), 4096);
  ExpectLevels(world, nullptr);
}

TEST(LevelsShapes, FewAndManyHeadsInTilesOfAnySizeWork) {
  for (const std::uint16_t heads : {1, 2, 8, 12}) {
    for (const std::uint16_t together : {1, 3, 12}) {
      SCOPED_TRACE(std::to_string(heads) + " heads, " + std::to_string(together) + " a tile");
      ChunkWorld world(Grouped(32, heads), 20);
      world.header.heads_per_group = together;
      ExpectLevels(world, nullptr);
    }
  }
}

TEST(LevelsShapes, EveryTypeWorks) {
  for (const DType dtype : kAllDTypes) {
    SCOPED_TRACE(DTypeName(dtype));
    ChunkWorld world(Grouped(64, 2, dtype), 50);
    ExpectLevels(world, nullptr);
  }
}

// Some models add hundreds to a few channels of keys, and turn them then.
TEST(LevelsShapes, BiasesOfKeysCostNoPrecision) {
  const ModelSpec spec = Grouped(64, 2, DType::kFp32);
  ChunkWorld plain(spec, 256, 0.25F);
  ChunkWorld biased(spec, 256, 300.0F);
  for (const bool learned : {false, true}) {
    double errors[2] = {};
    std::size_t sizes[2] = {};
    std::size_t w = 0;
    for (ChunkWorld* world : {&plain, &biased}) {
      std::optional<Profile> profile;
      if (learned) {
        ProfileLearner learner = ProfileLearner::Make(spec).value();
        ASSERT_TRUE(
            learner.Add(world->kv(), world->tables(), world->place(), world->header.first_position)
                .ok());
        profile.emplace(learner.Learn({}, {.draft_bits = 1.5, .block = 32}).value());
        ASSERT_TRUE(profile->FinishForEncoding().ok());
        profile->Name(NumberedProfileId(1));
      }
      const Profile* with = profile ? &*profile : nullptr;
      const auto object = world->Encode(with).value();
      const OpenedObject opened = OpenObject(object).value();
      const auto memory = world->Decode(opened, 2, with).value();
      errors[w] = world->ErrorOf(memory, 0);
      sizes[w] = opened.header.level_bytes[0] + opened.header.level_bytes[1];
      ++w;
    }
    EXPECT_LT(errors[1], errors[0] * 1.1) << (learned ? "with" : "without") << " a profile";
    EXPECT_LT(static_cast<double>(sizes[1]), static_cast<double>(sizes[0]) * 1.05);
  }
}

// Content and rotary part have tiles of their own; only the rotary part turns.
TEST(LevelsShapes, LatentsWorkAndOnlyTheirRotaryPartTurns) {
  ModelSpec spec;
  spec.name = "latent";
  spec.rotary = {.pairing = RotaryPairing::kGptJ, .dims = 64, .base = 10000.0};
  spec.groups.push_back({.attention = AttentionKind::kLatent,
                         .layers = {0, 1},
                         .kv_heads = 1,
                         .k_head_size = 512,
                         .v_head_size = 64});
  ChunkWorld world(spec, 70);
  ExpectLevels(world, nullptr);
  const auto object = world.Encode(nullptr).value();
  const OpenedObject opened = OpenObject(object).value();
  for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
    const auto here = world.Decode(opened, levels, nullptr).value();
    const auto there = world.Decode(opened, levels, nullptr, 1000).value();
    for (std::size_t layer = 0; layer < 2; ++layer) {
      EXPECT_TRUE(there[layer] == here[layer]) << "content, " << levels << " levels";
      EXPECT_FALSE(there[2 + layer] == here[2 + layer]) << "rotary part, " << levels << " levels";
    }
  }
  const Profile profile = MadeProfile(spec, 8);
  const auto with = world.Encode(&profile).value();
  EXPECT_TRUE(world.Decode(OpenObject(with).value(), kLevelCount, &profile).value() ==
              world.original());
}

}  // namespace
}  // namespace kdn::codec
