// How a fuzzer's bytes stand for a tile and the shape it is decoded for. Seeds are written, and
// inputs read, by the same functions.
//
// Thread-safety: not safe: profiles are kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "tests/codec/one_tile.h"

namespace kdn::codec {

struct TileInput {
  TileOptions tile;
  std::uint32_t decoded_tokens = 0;  // 0: all
  std::uint8_t profile = 0;          // 0: none, else MadeProfile()'s seed
  std::int64_t moved = 0;
  TileScheme exact = TileScheme::kResidual;
  std::uint8_t kernels = 0;             // ChosenKernels()
  std::vector<ConstBytes> levels = {};  // 1 to 4 of them
};

inline constexpr std::size_t kTileInputHeadBytes = 8;

// Any bytes of at least kTileInputHeadBytes have a meaning; shapes stay small, for speed.
inline TileInput ReadTileInput(ConstBytes bytes) {
  ByteReader in(bytes);
  const auto next = [&in] { return unsigned{in.Integer<std::uint8_t>()}; };
  TileInput input;
  const unsigned type = next();
  const unsigned flags = next();
  const unsigned strips = next();
  input.tile.dtype = static_cast<DType>((type & 7) % 5);
  input.profile = static_cast<std::uint8_t>((type >> 3) & 3);
  input.tile.pairing = static_cast<RotaryPairing>((flags & 3) % 3);
  input.tile.plane = (flags & 4) != 0 ? Plane::kV : Plane::kK;
  input.exact = (flags & 8) != 0 ? TileScheme::kRaw : TileScheme::kResidual;
  input.tile.dims_apart = (flags & 16) != 0;
  input.moved = (flags & 32) != 0 ? 5 : 0;
  input.tile.first_position = (flags & 64) != 0 ? 1'000'003 : 0;
  input.tile.layers = strips % 3 == 1 ? 2 : 1;
  input.tile.heads = strips % 3 == 2 ? 2 : 1;
  input.tile.tokens = 1 + next() % 12;
  input.tile.head_size = static_cast<std::uint16_t>(16 * (1 + next() % 4));
  const unsigned levels = 1 + next() % 4;
  input.decoded_tokens = next() % (input.tile.tokens + 1);
  input.kernels = static_cast<std::uint8_t>(next());
  ConstBytes rest = in.rest();
  std::vector<std::size_t> sizes;
  for (unsigned l = 1; l < levels; ++l) {
    ByteReader size(rest);
    sizes.push_back(size.Integer<std::uint16_t>());
    rest = size.rest();
  }
  for (const std::size_t size : sizes) {
    const std::size_t here = size < rest.size() ? size : rest.size();
    input.levels.push_back(rest.first(here));
    rest = rest.subspan(here);
  }
  input.levels.push_back(rest);
  return input;
}

// Requires: what ReadTileInput() can give.
inline std::vector<std::byte> WriteTileInput(const TileInput& input) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  const auto put = [&out](std::size_t value) { out.Integer(static_cast<std::uint8_t>(value)); };
  put(static_cast<std::size_t>(input.tile.dtype) + std::size_t{input.profile} * 8);
  put(static_cast<std::size_t>(input.tile.pairing) + (input.tile.plane == Plane::kV ? 4 : 0) +
      (input.exact == TileScheme::kRaw ? 8 : 0) + (input.tile.dims_apart ? 16 : 0) +
      (input.moved != 0 ? 32 : 0) + (input.tile.first_position != 0 ? 64 : 0));
  put(input.tile.layers == 2 ? 1 : input.tile.heads == 2 ? 2 : 0);
  put(input.tile.tokens - 1);
  put(input.tile.head_size / 16U - 1);
  put(input.levels.size() - 1);
  put(input.decoded_tokens);
  put(input.kernels);
  for (std::size_t l = 0; l + 1 < input.levels.size(); ++l) {
    out.Integer(static_cast<std::uint16_t>(input.levels[l].size()));
  }
  for (const ConstBytes level : input.levels) out.Bytes(level);
  return bytes;
}

// MadeProfile() of the input's number, made once; null for none.
inline const Profile* ProfileFor(const OneTile& one, std::uint8_t number) {
  if (number == 0) return nullptr;
  static std::map<std::array<std::uint32_t, 4>, Profile> made;
  const TileShape& shape = one.shape();
  const std::array key{shape.layers, shape.heads, shape.head_size, std::uint32_t{number}};
  const auto at = made.find(key);
  if (at != made.end()) return &at->second;
  return &made.emplace(key, MadeProfile(one.spec(), number)).first->second;
}

}  // namespace kdn::codec
