// What launches are held against the CPU with: types, levels, layouts, positions, sizes, profiles.
// Tests run them on the host, GPU programs on a GPU.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/codec/lane_objects.h"
#include "tests/codec/lane_profiles.h"

namespace kdn::codec {

using UseCase = std::function<void(const std::string& name, const LaneCase& c)>;

inline constexpr LevelSet kFourLevels(0b1111);

inline ModelSpec LaneSpec(DType dtype, std::uint16_t k_size, std::uint16_t v_size,
                          Rotary rotary = {}) {
  ModelSpec spec;
  spec.name = "lanes";
  spec.dtype = dtype;
  spec.rotary = rotary;
  spec.groups.push_back(
      {.layers = {0, 1}, .kv_heads = 2, .k_head_size = k_size, .v_head_size = v_size});
  return spec;
}

inline void ExactCases(const UseCase& use) {
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      for (const std::uint32_t tokens : {1U, 33U}) {
        use(std::string(DTypeName(dtype)) + " " + PatternName(pattern),
            {.spec = LaneSpec(dtype, 32, 48), .tokens = tokens, .pattern = pattern});
      }
    }
  }
}

inline void LossyCases(const UseCase& use) {
  const Rotary rotations[] = {
      {},
      {.pairing = RotaryPairing::kNeox, .dims = 32},
      {.pairing = RotaryPairing::kNeox, .dims = 20},  // halves that no slot keeps to
      {.pairing = RotaryPairing::kGptJ, .dims = 32},
      {.pairing = RotaryPairing::kGptJ, .dims = 10},
  };
  for (const DType dtype : kAllDTypes) {
    for (const Rotary& rotary : rotations) {
      for (std::size_t levels = 1; levels <= 3; ++levels) {
        use(std::string(DTypeName(dtype)) + ", " + std::to_string(rotary.dims) + " dims turned",
            {.spec = LaneSpec(dtype, 48, 32, rotary),
             .tokens = 37,
             .moved = 7 * static_cast<std::int64_t>(levels) - 14,
             .levels = kFourLevels,
             .decoded_levels = levels,
             .pattern = levels == 3 ? Pattern::kHeavyTailed : Pattern::kGaussian});
      }
    }
  }
}

inline void LayoutCases(const UseCase& use) {
  for (const std::string_view axes :
       {"NLPSHD", "PNSHD", "NPSHD", "NSHD", "PNHSD", "NPHSD", "NLPHSD", "NHSPD", "NHDS"}) {
    for (const LevelSet levels : {LevelSet(Level::kExact), kFourLevels}) {
      LaneCase c{
          .spec = LaneSpec(DType::kBf16, 64, 64, {.pairing = RotaryPairing::kNeox, .dims = 64}),
          .tokens = 70,
          .levels = levels,
          .decoded_levels = levels == kFourLevels ? 2U : 1U};
      c.shapes[0].axes = axes;
      use(std::string(axes), c);
      // A rank that holds one head and one layer, and wants a part of the chunk.
      c.shapes[0].first_head = c.shapes[0].head_count = 1;
      c.shapes[0].layers = {false, true};
      c.wanted = 41;
      use(std::string(axes) + ", a share", c);
    }
  }
}

inline void MovedCases(const UseCase& use) {
  for (const DType dtype : kAllDTypes) {
    for (const RotaryPairing pairing : {RotaryPairing::kNeox, RotaryPairing::kGptJ}) {
      for (const Pattern pattern : {Pattern::kGaussian, Pattern::kHeavyTailed}) {
        for (const std::int64_t moved : {std::int64_t{-1000}, std::int64_t{12345}}) {
          use(std::string(DTypeName(dtype)) + " moved by " + std::to_string(moved),
              {.spec = LaneSpec(dtype, 48, 32, {.pairing = pairing, .dims = 32}),
               .tokens = 19,
               .moved = moved,
               .pattern = pattern});
        }
      }
    }
  }
}

// Long strips are cut into windows, with borders of blocks and without.
inline void SizeCases(const UseCase& use) {
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{16, 96, 128, 256}) {
    for (const std::uint32_t tokens : {255U, 256U, 1001U}) {
      for (const LevelSet levels : {LevelSet(Level::kExact), kFourLevels}) {
        LaneCase c{.spec = LaneSpec(DType::kBf16, size, 32), .tokens = tokens, .levels = levels};
        c.spec.groups[0].layers = {0};
        c.decoded_levels = levels == kFourLevels ? 2 : 1;
        c.shapes[0].block_count = tokens / 16 + 2;
        use(std::to_string(size) + " dims, " + std::to_string(tokens) + " tokens", c);
      }
    }
  }
}

inline void GroupCases(const UseCase& use) {
  ModelSpec spec;
  spec.name = "hybrid";
  spec.rotary = {.pairing = RotaryPairing::kGptJ, .dims = 64};
  spec.groups.push_back({.attention = AttentionKind::kLatent,
                         .layers = {0, 2},
                         .kv_heads = 1,
                         .k_head_size = 512,
                         .v_head_size = 64});
  spec.groups.push_back(
      {.attention = AttentionKind::kState, .layers = {1}, .kv_heads = 1, .k_head_size = 40});
  LaneCase c{.spec = spec, .shapes = std::vector<MemoryShape>(2), .tokens = 100, .moved = 5};
  use("latent and state, exact", c);
  c.spec.groups[1].k_head_size = 48;
  c.levels = kFourLevels;
  c.decoded_levels = 3;
  use("latent and state, fine", c);
}

inline void ProfileCases(const UseCase& use) {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    const std::uint16_t sizes[] = {32, 64, 96, 128};
    const Rotary rotary{.pairing = seed % 2 == 0 ? RotaryPairing::kNeox : RotaryPairing::kGptJ,
                        .dims = 32};
    LaneCase c{.spec = LaneSpec(kAllDTypes[seed % 5], sizes[seed % 4], sizes[seed / 4 % 4], rotary),
               .tokens = static_cast<std::uint32_t>(1 + seed * 37 % 300),
               .moved = 3,
               .levels = LevelSet(0b111),
               .seed = seed};
    const Profile profile = RandomProfile(c.spec, seed);
    c.profile = &profile;
    c.shapes[0].block_count = 24;
    for (c.decoded_levels = 1; c.decoded_levels <= 3; ++c.decoded_levels) {
      use("profile " + std::to_string(seed) + ", " + std::to_string(c.decoded_levels) + " levels",
          c);
    }
  }
}

// exact as the fourth of four tiles: values of every kind, moved and not, with a profile and
// without, a share of a chunk, long strips and wide ones.
inline void OnTopCases(const UseCase& use) {
  const Rotary rotary{.pairing = RotaryPairing::kNeox, .dims = 32};
  const Rotary pairs{.pairing = RotaryPairing::kGptJ, .dims = 20};
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      LaneCase c{.spec = LaneSpec(dtype, 48, 32, pattern == Pattern::kGaussian ? pairs : rotary),
                 .tokens = 70,
                 .levels = kFourLevels,
                 .decoded_levels = 4,
                 .pattern = pattern};
      use(std::string(DTypeName(dtype)) + " " + PatternName(pattern) + " on top", c);
      // What is no number may come out of a turn with other bits.
      if (pattern != Pattern::kGaussian && pattern != Pattern::kHeavyTailed) continue;
      c.moved = 77;
      c.wanted = 41;
      use(std::string(DTypeName(dtype)) + " " + PatternName(pattern) + " on top, moved", c);
    }
  }
  for (const std::string_view axes : {"NLPSHD", "PNHSD", "NHSPD", "NHDS"}) {
    LaneCase c{.spec = LaneSpec(DType::kBf16, 64, 64, rotary),
               .tokens = 70,
               .levels = kFourLevels,
               .decoded_levels = 4};
    c.shapes[0].axes = axes;
    c.shapes[0].first_head = c.shapes[0].head_count = 1;
    c.shapes[0].layers = {false, true};
    c.wanted = 33;
    use(std::string(axes) + " on top, a share", c);
  }
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{16, 128, 1024}) {
    LaneCase c{.spec = LaneSpec(DType::kBf16, size, 32),
               .tokens = 600,
               .levels = kFourLevels,
               .decoded_levels = 4};
    c.spec.groups[0].layers = {0};
    c.shapes[0].block_count = 600 / 16 + 2;
    use(std::to_string(size) + " dims on top", c);
  }
  for (std::uint64_t seed = 50; seed < 60; ++seed) {
    LaneCase c{.spec = LaneSpec(kAllDTypes[seed % 5], 64, 96, rotary),
               .tokens = static_cast<std::uint32_t>(1 + seed * 37 % 300),
               .moved = static_cast<std::int64_t>(seed % 2) * 9,
               .levels = kFourLevels,
               .decoded_levels = 4,
               .seed = seed};
    Profile profile = RandomProfile(c.spec, seed);
    c.profile = &profile;
    c.shapes[0].block_count = 24;
    use("profile " + std::to_string(seed) + " on top", c);
  }
}

inline void AllLaneCases(const UseCase& use) {
  OnTopCases(use);
  ExactCases(use);
  LossyCases(use);
  LayoutCases(use);
  MovedCases(use);
  SizeCases(use);
  GroupCases(use);
  ProfileCases(use);
}

// What is encoded: the lossy ones of the cases above, at their levels; values that no decoder has
// room for, and that need exponents; keys coded as they are; long strips; wide ones.
inline void EncodeCases(const UseCase& use) {
  const auto lossy = [&](const std::string& name, const LaneCase& c) {
    if (!c.levels.Has(Level::kDraft)) return;
    LaneCase mine = c;
    mine.levels = LevelSet(static_cast<std::uint8_t>((1U << c.decoded_levels) - 1));
    use(name, mine);
  };
  LossyCases(lossy);
  LayoutCases(lossy);
  SizeCases(lossy);
  GroupCases(lossy);
  ProfileCases(lossy);
  const Rotary rotary{.pairing = RotaryPairing::kNeox, .dims = 48};
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      for (const std::uint32_t tokens : {1U, 3U, 65U}) {
        use(std::string(DTypeName(dtype)) + " " + PatternName(pattern),
            {.spec = LaneSpec(dtype, 48, 16, rotary),
             .tokens = tokens,
             .levels = LevelSet(0b111),
             .pattern = pattern,
             .seed = tokens});
      }
    }
  }
  LaneCase rotated{.spec = LaneSpec(DType::kBf16, 64, 64, rotary), .levels = LevelSet(0b111)};
  rotated.flags = kFlagCodedRotated;
  use("keys coded rotated", rotated);
  LaneCase longest{.spec = LaneSpec(DType::kBf16, 256, 16), .tokens = 4096, .levels = LevelSet(3)};
  longest.spec.groups[0].layers = {0};
  longest.spec.groups[0].kv_heads = 1;
  longest.shapes[0].block_count = 4096 / 16 + 2;
  use("4,096 tokens of 256 channels", longest);
  LaneCase widest{.spec = LaneSpec(DType::kBf16, 1024, 1008), .tokens = 33, .levels = LevelSet(7)};
  use("1,024 channels", widest);
}

// With profiles of every shape, of values that stay within their classes and of others.
inline void EncodeProfileCases(const UseCase& use) {
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    const std::uint16_t sizes[] = {16, 64, 128, 256};
    LaneCase c{.spec = LaneSpec(kAllDTypes[seed % 5], sizes[seed % 4], sizes[seed / 4 % 4]),
               .tokens = static_cast<std::uint32_t>(1 + seed * 71 % 400),
               .levels = LevelSet(static_cast<std::uint8_t>((1U << (1 + seed % 3)) - 1)),
               .pattern = kAllPatterns[seed % std::size(kAllPatterns)],
               .seed = seed};
    const Profile profile = RandomProfile(c.spec, seed);
    c.profile = &profile;
    c.shapes[0].block_count = 30;
    use("profile " + std::to_string(seed), c);
  }
}

}  // namespace kdn::codec
