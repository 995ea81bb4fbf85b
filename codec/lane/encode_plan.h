// What one launch of encoding works on, as it lies in memory that host and GPU read alike: a
// header, then tables of places, strips, classes, rANS blocks and tiles. Made and checked by
// EncodePlanner (codec/lane/encode_planner.h).
//
// A place is one (layer group, head group, plane) of an object, of which each lossy level is a
// tile; a strip is one (layer, head) of it. Steps follow one another, and each has all that the one
// before wrote:
//
//   1  strips   a team of warps reads a strip's rows, frees them of their position, measures and
//               transforms them and cuts them into symbols and the bits below them
//   2  tables   a warp a place makes its table, if it has no profile
//   3  blocks   a warp codes a rANS block
//   4  sizes    a warp adds up where the pieces of one tile lie
//   5  tiles    one warp adds up where tiles lie
//   6  bytes    a team a strip and level writes directory, blocks and planes
//
// What one step leaves for the next lies in the launch's workspace. Addresses are those of the
// memory that the launch works on; offsets count from the plan's front, and in the workspace from
// its front.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec {

inline constexpr unsigned kEncodeTeamWarps = 4;
inline constexpr std::uint32_t kNestedLevels = 3;  // draft, standard, fine
// Symbols of a table that a place without a profile makes, the first one and their number.
inline constexpr unsigned kOwnSymbols = 2 * kOwnBinMax + 1;
inline constexpr unsigned kOwnFirstSymbol = kMiddleSymbol - kOwnBinMax;

// By symbol.
struct alignas(16) LaneEncodeTable {
  // floor((2^32 - 1) / frequency): (x + 1) · this >> 32 is x / frequency for every x < 2^24.
  std::uint32_t magic[kRansSymbolsMax];
  std::uint8_t frequency[kRansSymbolsMax];  // 0: does not occur
  std::uint8_t cumulative[kRansSymbolsMax];
  LeanEnds ends;
};

// Components of a strip that are coded alike, as ComponentClass has them.
struct EncodeClass {
  std::uint16_t width = 0;
  std::uint16_t first = 0;  // component
  std::uint8_t start = 0;   // level; kNestedLevels: it is never coded
  std::uint8_t planes_at_start = 0;
  std::uint8_t planes = 0;  // at the finest level
  std::uint8_t first_symbol = 0;
  std::uint8_t last_symbol = 0;
  float clip = 0.0F;
  std::uint32_t first_block = 0;
  std::uint32_t block_count = 0;  // 0 also if it starts beyond the levels that are coded
};

struct EncodeStrip {
  const std::byte* head = nullptr;  // of its first row
  std::int64_t dim_stride = 0;
  std::uint32_t rows = 0;   // offset of std::int64_t[]: a token's row, from `head`
  std::uint32_t turns = 0;  // offset of float[]: cosines, then sines of a token's pairs
  std::uint16_t rotary_dims = 0;
  RotaryPairs pairs = RotaryPairs::kNone;
  std::uint16_t channels = 0;
  std::uint16_t block = 1;  // of the matrix; 1: none
  std::uint32_t tokens = 0;
  std::uint32_t place = 0;
  std::uint32_t number = 0;   // in its place
  std::uint32_t classes = 0;  // offset of EncodeClass[]
  std::uint32_t class_count = 0;
  // Of a profile; null: they are measured. `inverse` is as Analysis has it.
  const float* mean = nullptr;
  const float* inverse = nullptr;
  const std::uint16_t* order = nullptr;  // null: component k is coded as number k
  // In the workspace: symbols, then the bits below them, [class][token][component] each; a byte a
  // token; what was measured, means, then scales; counts of draft bins.
  std::uint64_t symbols = 0;
  std::uint64_t exponents = 0;
  std::uint64_t numbers = 0;
  std::uint64_t counts = 0;
  std::uint64_t result = 0;  // StripResult
};

struct StripResult {
  std::uint32_t exponents = 0;  // tokens that have one
  // By level: its part of the directory, from the tile's front; its data, from behind that.
  std::uint32_t directory[kNestedLevels] = {};
  std::uint32_t data[kNestedLevels] = {};
};

struct EncodeBlock {
  std::uint64_t symbols = 0;  // in the workspace
  std::uint64_t end = 0;      // in the workspace: where its bytes end, a multiple of 16
  std::uint32_t count = 0;
  // A LaneEncodeTable: in the workspace of a place without a profile, else where `tables` points.
  std::uint64_t table = 0;
  const std::byte* tables = nullptr;
};
struct CodedBlock {
  std::uint32_t bytes = 0;  // behind the head
  std::uint32_t tail = 0;
};

struct EncodePlace {
  std::uint32_t first_strip = 0;
  std::uint32_t strip_count = 0;
  std::uint32_t first_tile = 0;  // draft's; that of the next level is tile_stride behind
  std::uint32_t tile_stride = 0;
  std::uint16_t channels = 0;
  std::uint8_t levels = 0;  // draft and what follows it
  bool own = false;         // without a profile
  std::uint64_t table = 0;  // own: in the workspace
};

struct EncodeTile {
  std::uint32_t place = 0;
  std::uint32_t level = 0;
};
struct TileResult {
  std::uint64_t begin = 0;  // in the output
  std::uint32_t directory = 0;
  std::uint32_t size = 0;
};

struct EncodePlanHeader {
  std::uint32_t places = 0;   // offset of EncodePlace[]
  std::uint32_t strips = 0;   // offset of EncodeStrip[]
  std::uint32_t blocks = 0;   // offset of EncodeBlock[]
  std::uint32_t tiles = 0;    // offset of EncodeTile[]
  std::uint64_t coded = 0;    // in the workspace: CodedBlock[], by block
  std::uint64_t results = 0;  // in the workspace: TileResult[], by tile
};

// A team's fast memory.
struct EncodeMemory {
  static constexpr std::uint32_t kSlabValues = 1024;  // of each of a warp's two slabs
  static constexpr std::uint32_t kTokensMax = 8;      // in a slab
  static constexpr std::uint32_t kCountsBytes = 64;
  static_assert(4 * kOwnSymbols <= kCountsBytes);

  std::uint32_t channels = 0;  // of the widest strip

  // Means, scales, factors of channels; classes of each 16 components; counts; slabs.
  [[nodiscard]] KDN_HOST_DEVICE constexpr std::uint32_t TotalBytes() const {
    return 12 * channels + UnitsBytes() + kCountsBytes + kEncodeTeamWarps * 8 * kSlabValues;
  }
  [[nodiscard]] KDN_HOST_DEVICE constexpr std::uint32_t UnitsBytes() const {
    return (channels / 16 + 15) / 16 * 16;
  }
};

// How a plan is launched.
struct EncodeShape {
  std::uint8_t dtype = 0;  // the number of a DType
  std::uint32_t places = 0;
  std::uint32_t strips = 0;
  std::uint32_t blocks = 0;
  std::uint32_t tiles = 0;
  EncodeMemory memory;
  std::uint64_t workspace_bytes = 0;
  std::uint64_t out_bytes_max = 0;  // of all tiles
};

// The memory of one launch; all of it may be written before the launch reads it.
struct EncodeBuffers {
  std::byte* workspace = nullptr;  // a multiple of 16
  std::byte* out = nullptr;        // a multiple of 16: tiles, one after the other
  std::uint32_t* sizes = nullptr;  // of each tile, bytes
};

}  // namespace kdn::codec
