// One tile of a small model and memory for just that tile: what tests and fuzzers code without an
// object around it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/lossy_tile.h"
#include "codec/profile.h"

namespace kdn::codec {

struct TileOptions {
  DType dtype = DType::kBf16;
  std::uint16_t layers = 1;
  std::uint16_t heads = 1;
  std::uint32_t tokens = 1;
  std::uint16_t head_size = 32;
  Plane plane = Plane::kK;
  RotaryPairing pairing = RotaryPairing::kNone;  // of the first 16 channels
  bool dims_apart = false;                       // two elements from one dim to the next
  std::uint64_t first_position = 0;
};

// Tiles of one place, by level.
using LevelTiles = std::array<std::vector<std::byte>, kLevelCount>;

class OneTile {
 public:
  // `decoded_tokens`: those that the place has, at most options.tokens; 0: all.
  explicit OneTile(const TileOptions& options, std::uint32_t decoded_tokens = 0);
  OneTile(const OneTile&) = delete;
  OneTile& operator=(const OneTile&) = delete;

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const TileShape& shape() const { return place_.shape; }
  [[nodiscard]] std::vector<std::byte>& memory() { return memory_; }
  // Values in value order into the memory.
  void SetValues(ConstBytes values);
  // What the memory holds, in value order.
  [[nodiscard]] std::vector<std::byte> Values() const;

  // All levels up to `last`, of which draft is the first.
  [[nodiscard]] LevelTiles Encode(const Kernels& kernels, const Profile* profile, Level last,
                                  TileScheme& exact);
  Status Decode(const Kernels& kernels, const Profile* profile, std::span<const TileBytes> tiles,
                std::int64_t moved);
  // What Decode() takes: bytes of draft and what follows it, the last of scheme `exact` if it is
  // the fourth.
  [[nodiscard]] std::vector<TileBytes> TilesOf(std::span<const ConstBytes> levels,
                                               TileScheme exact) const;

 private:
  [[nodiscard]] LossyContext ContextOf(const Kernels& kernels, const Profile* profile) const;

  ModelSpec spec_;
  TileCoordinates at_;
  TilePlace place_;
  std::uint64_t first_position_;
  std::vector<std::byte> memory_;
  std::vector<std::byte*> bases_;
  std::array<KvPool, 1> pools_;
  std::uint32_t block_ = 0;
  std::span<const std::uint32_t> table_{&block_, 1};
  PagedKv kv_{pools_};
  BlockTables blocks_{{&table_, 1}};
  ChunkPlace chunk_;
  CodecScratch scratch_;
};

// A profile of whole numbers drawn from `seed`: classes of every start, matrices that have an
// inverse and are no transform of anything. For any spec whose head sizes are multiples of 16.
[[nodiscard]] Profile MadeProfile(const ModelSpec& spec, std::uint64_t seed);

}  // namespace kdn::codec
