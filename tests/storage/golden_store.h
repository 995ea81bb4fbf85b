// What is in a golden tier: small objects whose bytes can be made again.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>

#include "storage/disk_tier.h"
#include "tests/storage/store_driver.h"

namespace kdn::storage::test {

inline constexpr std::size_t kGoldenObjects = 3;

// Values in tables, in blob files, and of all levels in both.
[[nodiscard]] inline TestObject GoldenObject(std::size_t number) {
  constexpr std::array<std::size_t, kGoldenObjects> kSizes{3'000, 20'000, 12'000};
  return MakeObject({.seed = 1000 + number,
                     .size_bytes = kSizes[number],
                     .levels = number == 0 ? LevelSet(Level::kExact) : kAllLevels});
}

[[nodiscard]] inline bool WriteGolden(DiskTier& tier, std::size_t number) {
  const TestObject object = GoldenObject(number);
  DiskTier::Segments segments;
  std::array<ConstBytes, kLevelCount> runs;
  for (const LevelInfo& info : Levels()) {
    if (!object.header.levels_encoded.Has(info.level)) continue;
    const auto level = static_cast<std::size_t>(info.level);
    runs[level] = SegmentOf(object, info.level);
    segments[level] = std::span(&runs[level], 1);
  }
  return tier.Write(IdOf(object), EncodeHeader(object.header), segments).ok();
}

}  // namespace kdn::storage::test
