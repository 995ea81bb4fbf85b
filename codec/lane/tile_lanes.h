// The last steps of encoding: where the pieces of tiles lie, and their bytes. docs/codec.md has the
// layout; codec/nested_encode.cc writes the same.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/float_bits.h"
#include "codec/lane/encode_plan.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

KDN_HOST_DEVICE inline std::uint32_t UpToFour(std::uint32_t bytes) {
  return (bytes + 3) / 4 * 4;
}
inline constexpr std::uint32_t kEmptyBytes = 16;  // of a tile at whose level nothing has begun

// A plan and its workspace, as the steps after the blocks see them.
struct TileWork {
  const std::byte* plan;
  std::byte* workspace;

  [[nodiscard]] KDN_HOST_DEVICE const EncodePlanHeader& header() const {
    return *reinterpret_cast<const EncodePlanHeader*>(plan);
  }
  [[nodiscard]] KDN_HOST_DEVICE const EncodePlace& place(std::uint32_t i) const {
    return reinterpret_cast<const EncodePlace*>(plan + header().places)[i];
  }
  [[nodiscard]] KDN_HOST_DEVICE const EncodeStrip& strip(std::uint32_t i) const {
    return reinterpret_cast<const EncodeStrip*>(plan + header().strips)[i];
  }
  [[nodiscard]] KDN_HOST_DEVICE const EncodeTile& tile(std::uint32_t i) const {
    return reinterpret_cast<const EncodeTile*>(plan + header().tiles)[i];
  }
  [[nodiscard]] KDN_HOST_DEVICE const EncodeBlock& block(std::uint32_t i) const {
    return reinterpret_cast<const EncodeBlock*>(plan + header().blocks)[i];
  }
  [[nodiscard]] KDN_HOST_DEVICE const EncodeClass* classes(const EncodeStrip& strip) const {
    return reinterpret_cast<const EncodeClass*>(plan + strip.classes);
  }
  [[nodiscard]] KDN_HOST_DEVICE StripResult& result(const EncodeStrip& strip) const {
    return *reinterpret_cast<StripResult*>(workspace + strip.result);
  }
  [[nodiscard]] KDN_HOST_DEVICE TileResult& result(std::uint32_t tile) const {
    return reinterpret_cast<TileResult*>(workspace + header().results)[tile];
  }
  [[nodiscard]] KDN_HOST_DEVICE const CodedBlock& coded(std::uint32_t block) const {
    return reinterpret_cast<const CodedBlock*>(workspace + header().coded)[block];
  }
};

// Bytes of what a place without a profile brings along.
KDN_HOST_DEVICE inline std::uint32_t OwnBytes(const EncodePlace& place, std::uint32_t level) {
  if (!place.own || level != 0) return 0;
  return 2 + kOwnSymbols + 4 * std::uint32_t{place.channels} * place.strip_count;
}
KDN_HOST_DEVICE inline std::uint32_t PlanesAt(const EncodeClass& one, std::uint32_t level) {
  if (level == one.start) return one.planes_at_start;
  return level > one.start ? 1 : 0;
}
KDN_HOST_DEVICE inline std::uint32_t PlaneBytesOf(const EncodeClass& one, std::uint32_t tokens) {
  return UpToFour(tokens * one.width / 8);
}
KDN_HOST_DEVICE inline std::uint32_t BlocksAt(const EncodeClass& one, std::uint32_t level) {
  return level == one.start ? one.block_count : 0;
}
KDN_HOST_DEVICE inline std::uint32_t LeanBlockBytes(const CodedBlock& coded) {
  return UpToFour(static_cast<std::uint32_t>(kLeanHeadBytes) + coded.bytes);
}

// What a strip has of a tile: of the directory, and behind that.
struct PieceBytes {
  std::uint32_t directory;
  std::uint32_t data;
};
KDN_HOST_DEVICE inline PieceBytes PieceOf(const TileWork& work, const EncodeStrip& strip,
                                          std::uint32_t level) {
  PieceBytes piece{0, 0};
  if (level == 0) piece.directory = 2 + 3 * work.result(strip).exponents;
  for (std::uint32_t i = 0; i < strip.class_count; ++i) {
    const EncodeClass& one = work.classes(strip)[i];
    for (std::uint32_t b = 0; b < BlocksAt(one, level); ++b) {
      piece.directory += 3;
      piece.data += LeanBlockBytes(work.coded(one.first_block + b));
    }
    piece.data += PlanesAt(one, level) * PlaneBytesOf(one, strip.tokens);
  }
  return piece;
}

// Adds up one tile: its size, and where each strip's pieces lie in it.
template <class Warp>
KDN_HOST_DEVICE void SizeTile(const Warp& warp, const TileWork& work, std::uint32_t number,
                              std::uint32_t* sizes) {
  const EncodeTile& tile = work.tile(number);
  const EncodePlace& place = work.place(tile.place);
  std::uint32_t directory = OwnBytes(place, tile.level);
  std::uint32_t data = 0;
  typename Warp::template Lanes<std::uint32_t> directories;
  typename Warp::template Lanes<std::uint32_t> datas;
  for (std::uint32_t first = 0; first < place.strip_count; first += kWarpLanes) {
    warp.Each([&](unsigned lane) {
      PieceBytes piece{0, 0};
      if (first + lane < place.strip_count) {
        piece = PieceOf(work, work.strip(place.first_strip + first + lane), tile.level);
      }
      directories[lane] = piece.directory;
      datas[lane] = piece.data;
    });
    const std::uint32_t more_directory = warp.SumBefore(directories);
    const std::uint32_t more_data = warp.SumBefore(datas);
    warp.Each([&](unsigned lane) {
      if (first + lane >= place.strip_count) return;
      StripResult& result = work.result(work.strip(place.first_strip + first + lane));
      result.directory[tile.level] = directory + directories[lane];
      result.data[tile.level] = data + datas[lane];
    });
    directory += more_directory;
    data += more_data;
  }
  warp.Each([&](unsigned lane) {
    if (lane != 0) return;
    const std::uint32_t size = UpToFour(directory) + data;
    work.result(number).directory = directory;
    work.result(number).size = size == 0 ? kEmptyBytes : size;
    sizes[number] = work.result(number).size;
  });
}

// Lays the tiles one after the other.
template <class Warp>
KDN_HOST_DEVICE void PlaceTiles(const Warp& warp, const TileWork& work, std::uint32_t tiles) {
  std::uint64_t at = 0;
  typename Warp::template Lanes<std::uint64_t> begins;
  for (std::uint32_t first = 0; first < tiles; first += kWarpLanes) {
    warp.Each([&](unsigned lane) {
      begins[lane] = first + lane < tiles ? work.result(first + lane).size : 0;
    });
    const std::uint64_t more = warp.SumBefore(begins);
    warp.Each([&](unsigned lane) {
      if (first + lane < tiles) work.result(first + lane).begin = at + begins[lane];
    });
    at += more;
  }
}

KDN_HOST_DEVICE inline void PutByte(std::byte* to, std::uint32_t value) {
  *to = static_cast<std::byte>(value);
}

// The table, before the first strip's numbers, and a strip's means and scales.
template <class Warp>
KDN_HOST_DEVICE void WriteOwn(const Warp& warp, const TileWork& work, const EncodeStrip& strip,
                              std::byte* tile) {
  const EncodePlace& place = work.place(strip.place);
  const auto* table = reinterpret_cast<const LaneEncodeTable*>(work.workspace + place.table);
  const auto* numbers = reinterpret_cast<const float*>(work.workspace + strip.numbers);
  std::byte* to = tile + 2 + kOwnSymbols + std::size_t{4} * strip.channels * strip.number;
  warp.Each([&](unsigned lane) {
    if (strip.number == 0) {
      if (lane == 0) PutByte(tile, kOwnFirstSymbol);
      if (lane == 0) PutByte(tile + 1, kOwnSymbols);
      if (lane < kOwnSymbols) PutByte(tile + 2 + lane, table->frequency[kOwnFirstSymbol + lane]);
    }
    for (std::uint32_t i = lane; i < 2U * strip.channels; i += kWarpLanes) {
      const std::uint32_t word = Bf16Number::FromFloat(numbers[i]);
      PutByte(to + 2 * std::size_t{i}, word);
      PutByte(to + 2 * std::size_t{i} + 1, word >> 8);
    }
  });
}

// Tokens that have an exponent, ascending; returns where the directory goes on.
template <class Warp>
KDN_HOST_DEVICE std::byte* WriteExponents(const Warp& warp, const TileWork& work,
                                          const EncodeStrip& strip, std::byte* to) {
  const auto* exponents = reinterpret_cast<const std::uint8_t*>(work.workspace + strip.exponents);
  const std::uint32_t all = work.result(strip).exponents;
  warp.Each([&](unsigned lane) {
    if (lane < 2) PutByte(to + lane, all >> (8 * lane));
  });
  to += 2;
  typename Warp::template Lanes<bool> has;
  for (std::uint32_t first = 0; all != 0 && first < strip.tokens; first += kWarpLanes) {
    warp.Each([&](unsigned lane) {
      has[lane] = first + lane < strip.tokens && exponents[first + lane] != 0;
    });
    const std::uint32_t which = warp.Ballot(has);
    warp.Each([&](unsigned lane) {
      if (!has[lane]) return;
      std::byte* mine = to + 3 * std::size_t{CountBits(which & LanesBelow(lane))};
      PutByte(mine, first + lane);
      PutByte(mine + 1, (first + lane) >> 8);
      PutByte(mine + 2, exponents[first + lane]);
    });
    to += 3 * std::size_t{CountBits(which)};
  }
  return to;
}

// A strip's part of the directory, and what is in front and behind of all parts.
template <class Warp>
KDN_HOST_DEVICE void WriteDirectory(const Warp& warp, const TileWork& work,
                                    const EncodeStrip& strip, std::uint32_t level,
                                    const TileResult& tile, std::byte* bytes) {
  const EncodePlace& place = work.place(strip.place);
  if (level == 0 && place.own) WriteOwn(warp, work, strip, bytes);
  std::byte* to = bytes + work.result(strip).directory[level];
  if (level == 0) to = WriteExponents(warp, work, strip, to);
  for (std::uint32_t i = 0; i < strip.class_count; ++i) {
    const EncodeClass& one = work.classes(strip)[i];
    const std::uint32_t blocks = BlocksAt(one, level);
    warp.Each([&](unsigned lane) {
      for (std::uint32_t b = lane; b < blocks; b += kWarpLanes) {
        const CodedBlock& coded = work.coded(one.first_block + b);
        PutByte(to + 3 * std::size_t{b}, coded.bytes);
        PutByte(to + 3 * std::size_t{b} + 1, coded.bytes >> 8);
        PutByte(to + 3 * std::size_t{b} + 2, coded.tail);
      }
    });
    to += 3 * std::size_t{blocks};
  }
  if (strip.number + 1 != place.strip_count) return;
  // The last strip closes the directory, and a tile that has nothing at all.
  const std::uint32_t data = work.result(strip).data[level] + PieceOf(work, strip, level).data;
  const std::uint32_t end = tile.directory + data == 0 ? kEmptyBytes : UpToFour(tile.directory);
  warp.Each([&](unsigned lane) {
    if (tile.directory + lane < end) PutByte(bytes + tile.directory + lane, 0);
  });
}

// Copies a block to a multiple of 4, with zeros up to the next.
template <class Warp>
KDN_HOST_DEVICE void CopyBlock(const Warp& warp, const std::byte* end, const CodedBlock& coded,
                               std::byte* to) {
  const std::uint32_t size = static_cast<std::uint32_t>(kLeanHeadBytes) + coded.bytes;
  // The source ends at a multiple of 16 and begins anywhere.
  const std::uint32_t off = (4 - size % 4) % 4;
  const std::byte* from = end - size - off;
  warp.Each([&](unsigned lane) {
    for (std::uint32_t at = 4 * lane; at < size; at += 4 * kWarpLanes) {
      std::uint32_t word = Load<std::uint32_t>(from + at) >> (8 * off);
      if (off != 0 && from + at + 4 < end) {
        word |= Load<std::uint32_t>(from + at + 4) << (32 - 8 * off);
      }
      Store(word, to + at);
    }
  });
}

// Bit `bit` of each of `count` bytes, a multiple of 16, and zeros to a multiple of 4 bytes.
template <class Warp>
KDN_HOST_DEVICE void PackPlane(const Warp& warp, const std::byte* rest, std::uint32_t count,
                               unsigned bit, std::byte* to) {
  warp.Each([&](unsigned lane) {
    for (std::uint32_t i = 32 * lane; i < count; i += 32 * kWarpLanes) {
      std::uint32_t packed = 0;
      for (std::uint32_t k = 0; k < 32 && i + k < count; k += 16) {
        const Quad bytes = LoadQuad(rest + i + k);
        for (std::uint32_t w = 0; w < 4; ++w) {
          // The lowest bits of four bytes meet in the product's highest four.
          const std::uint32_t four = (bytes.word[w] >> bit & 0x01010101U) * 0x10204080U >> 28;
          packed |= four << (k + 4 * w);
        }
      }
      Store(packed, to + i / 8);
    }
  });
}

// The share of warp `number` of `warps`: a strip's pieces of the tile of one level.
template <class Warp>
KDN_HOST_DEVICE void WritePieces(const Warp& warp, const TileWork& work, std::uint32_t strip_number,
                                 std::uint32_t level, unsigned number, std::byte* out) {
  const EncodeStrip& strip = work.strip(strip_number);
  const EncodePlace& place = work.place(strip.place);
  if (level >= place.levels) return;
  const TileResult& tile = work.result(place.first_tile + level * place.tile_stride);
  std::byte* bytes = out + tile.begin;
  if (number == 0) WriteDirectory(warp, work, strip, level, tile, bytes);
  std::byte* to = bytes + UpToFour(tile.directory) + work.result(strip).data[level];
  const std::byte* rest =
      work.workspace + strip.symbols + std::size_t{strip.tokens} * strip.channels;
  unsigned item = 0;
  for (std::uint32_t i = 0; i < strip.class_count; ++i) {
    const EncodeClass& one = work.classes(strip)[i];
    for (std::uint32_t b = 0; b < BlocksAt(one, level); ++b) {
      const std::uint32_t block = one.first_block + b;
      const CodedBlock& coded = work.coded(block);
      if (item++ % kEncodeTeamWarps == number) {
        CopyBlock(warp, work.workspace + work.block(block).end, coded, to);
      }
      to += LeanBlockBytes(coded);
    }
    for (std::uint32_t p = 0; p < PlanesAt(one, level); ++p) {
      // Of the bits that fine has, the most significant come first.
      const std::uint32_t before =
          level == one.start ? 0 : one.planes_at_start + level - 1 - one.start;
      if (item++ % kEncodeTeamWarps == number) {
        PackPlane(warp, rest + std::size_t{strip.tokens} * one.first, strip.tokens * one.width,
                  one.planes - 1U - before - p, to);
      }
      to += PlaneBytesOf(one, strip.tokens);
    }
  }
}

}  // namespace
}  // namespace kdn::codec
