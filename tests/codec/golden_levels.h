// The objects of tests/golden/levels: all levels of every type, with a learned profile and without,
// of grouped and of latent attention, and ways to break one.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tests/codec/chunk_world.h"

namespace kdn::codec {

struct GoldenObject {
  std::string_view name;  // of the file, without its ending
  DType dtype = DType::kBf16;
  AttentionKind attention = AttentionKind::kGrouped;
  bool profile = false;  // kGoldenProfile
  std::uint16_t layers = 1;
  std::uint32_t tokens = 11;  // a strip's planes end within a byte of their last row
  // Whether encoders still choose these bins; else they did once, and the object is only read.
  bool written = true;
};
[[nodiscard]] const std::vector<GoldenObject>& GoldenObjects();
[[nodiscard]] ModelSpec SpecOf(const GoldenObject& golden);
[[nodiscard]] ChunkWorld WorldOf(const GoldenObject& golden);
inline constexpr std::string_view kGoldenProfile = "klt.profile";

// Learned from the model of the golden objects that have a profile.
[[nodiscard]] Profile LearnGoldenProfile();

// Levels and distances at which decoded memory is compared, and its checksum in hexadecimal.
struct GoldenDecode {
  std::size_t levels;
  std::int64_t moved;
};
inline constexpr GoldenDecode kGoldenDecodes[] = {{1, 0}, {2, 0}, {3, 0}, {4, 0}, {3, 500}, {4, 9}};
[[nodiscard]] std::string DigestOf(const ChunkWorld::Memories& memory);

// A way to break one of the objects, and what becomes of it.
struct GoldenLevelDamage {
  std::string name;  // of the file, without its ending
  std::function<void(std::vector<std::byte>&)> apply;
  Code code;      // of opening it, or else of decoding its last level
  bool verifies;  // all checksums are right: it is decoding that refuses
};
[[nodiscard]] const std::vector<GoldenLevelDamage>& GoldenLevelDamages();
inline constexpr std::string_view kDamagedObject = "bf16";

// A way to break the golden profile.
struct GoldenProfileDamage {
  std::string name;
  std::function<void(std::vector<std::byte>&)> apply;
  Code code;  // of reading it for the golden model
};
[[nodiscard]] const std::vector<GoldenProfileDamage>& GoldenProfileDamages();

[[nodiscard]] std::string GoldenPath(std::string_view file);
[[nodiscard]] std::vector<std::byte> ReadGoldenFile(std::string_view file);

}  // namespace kdn::codec
