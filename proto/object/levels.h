// The quality levels. A level's number is format: never renumber one, never reuse a number.
// Each refines the one before it; an object holds a prefix of its encoded levels, or `exact` alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/export.h"
#include "base/result.h"

namespace kdn {

enum class Level : std::uint8_t { kDraft = 0, kStandard = 1, kFine = 2, kExact = 3 };

inline constexpr std::size_t kLevelCount = 4;

struct LevelInfo {
  Level level;
  std::string_view name;  // as written in configs, metrics and on the command line
  bool lossless;
};

// All levels, coarsest first. To add a level, add a row (docs/extending.md).
[[nodiscard]] KDN_API std::span<const LevelInfo> Levels();
[[nodiscard]] KDN_API std::string_view LevelName(Level level);
// kNotFound if no level has this name.
[[nodiscard]] KDN_API Result<Level> FindLevel(std::string_view name);

// A set of levels, one bit each: bit n is the level of number n.
class LevelSet {
 public:
  constexpr LevelSet() = default;
  constexpr explicit LevelSet(std::uint8_t bits) : bits_(bits) {}
  constexpr LevelSet(Level level) : bits_(static_cast<std::uint8_t>(1U << Number(level))) {}

  [[nodiscard]] constexpr bool Has(Level level) const {
    return ((bits_ >> Number(level)) & 1U) != 0;
  }
  constexpr void Add(Level level) {
    bits_ = static_cast<std::uint8_t>(bits_ | (1U << Number(level)));
  }
  constexpr void Remove(Level level) {
    bits_ = static_cast<std::uint8_t>(bits_ & ~(1U << Number(level)));
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr std::uint8_t bits() const { return bits_; }
  // False for bits that name no level.
  [[nodiscard]] constexpr bool Valid() const { return bits_ < (1U << kLevelCount); }
  friend constexpr LevelSet operator&(LevelSet a, LevelSet b) {
    return LevelSet(static_cast<std::uint8_t>(a.bits_ & b.bits_));
  }
  friend constexpr LevelSet operator|(LevelSet a, LevelSet b) {
    return LevelSet(static_cast<std::uint8_t>(a.bits_ | b.bits_));
  }
  // Those of `a` that are not in `b`.
  friend constexpr LevelSet operator-(LevelSet a, LevelSet b) {
    return LevelSet(static_cast<std::uint8_t>(a.bits_ & ~b.bits_));
  }
  friend constexpr bool operator==(LevelSet, LevelSet) = default;

 private:
  static constexpr unsigned Number(Level level) { return static_cast<unsigned>(level); }
  std::uint8_t bits_ = 0;
};

inline constexpr LevelSet kAllLevels{std::uint8_t{0x0F}};

// Bytes of each level of one object, index included; 0 where the level is absent.
using LevelBytes = std::array<std::uint32_t, kLevelCount>;

// The levels that have bytes.
[[nodiscard]] constexpr LevelSet LevelsWithBytes(const LevelBytes& level_bytes) {
  LevelSet levels;
  for (std::size_t number = 0; number < kLevelCount; ++number) {
    if (level_bytes[number] > 0) levels.Add(static_cast<Level>(number));
  }
  return levels;
}

// The bytes that `levels` have together.
[[nodiscard]] constexpr std::uint64_t SumOfLevels(const LevelBytes& level_bytes, LevelSet levels) {
  std::uint64_t sum = 0;
  for (std::size_t number = 0; number < kLevelCount; ++number) {
    if (levels.Has(static_cast<Level>(number))) sum += level_bytes[number];
  }
  return sum;
}

}  // namespace kdn
