// What one launch decodes, as it lies in memory that host and GPU read alike: a header, then tables
// of units, strips, runs, rANS blocks and their tables. Made and checked by DecodePlanner
// (codec/lane/decode_planner.h): whoever works through it only ever bounds what tiles' bytes say.
//
// A strip is one (layer, head) of a tile. A unit is a window of its tokens and what one team of
// warps decodes; no unit waits for another. Addresses are those of the memory that the launch works
// on; offsets count from the plan's front.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec {

inline constexpr unsigned kWarpLanes = 32;
inline constexpr unsigned kTeamWarpsMax = 4;
inline constexpr std::uint32_t kNoOffset = ~std::uint32_t{0};

// Per slot: the byte that its symbol stands for | frequency << 8 | (slot - cumulative) << 16. The
// rest is of lean blocks.
struct alignas(16) LaneTable {
  std::uint32_t slot[kRansSlots];
  std::uint8_t byte_of_rank[kRansSymbolsMax];
  LeanEnds ends;
};

struct LaneBlock {
  const std::byte* states = nullptr;  // a multiple of 4; the words follow
  std::uint32_t words = 0;            // of 16 bits each; of a nested strip's lean blocks, of 8
  std::uint32_t tail = 0;             // of lean blocks
  std::uint32_t count = 0;            // symbols
  std::uint32_t first = 0;            // the first one's number in its run
  std::uint32_t run = 0;              // index into the strip's runs
  std::uint32_t table = 0;            // offset of a LaneTable: from the plan's front, or
                                      // LaneStrip::tables
};

enum class LaneRunMode : std::uint8_t { kRaw = 0, kConstant = 1, kRans = 2, kZero = 3 };

// Of a nested tile: a class of components. Of byte planes: one plane.
struct LaneRun {
  LaneRunMode mode = LaneRunMode::kZero;
  std::uint8_t value = 0;        // of kConstant
  std::uint8_t raw_bits = 8;     // that a symbol takes, of kRaw
  std::uint8_t planes = 0;       // raw planes that refine symbols,
  std::uint8_t plane_shift = 0;  // as ClassCodes has them
  std::uint16_t width = 0;       // symbols per token
  std::uint32_t first = 0;       // nested: first component. Planes: which store, if kRans
  const std::byte* plane[kClassPlanesMax] = {};  // kRaw: plane[0] has the symbols
};

// kSymbols: of exact on top of fine, lean blocks that stay symbols.
enum class LaneScheme : std::uint8_t { kRaw, kBytePlanes, kNested, kSymbols };

struct LaneStrip {
  LaneScheme scheme = LaneScheme::kRaw;
  RotaryPairs pairs = RotaryPairs::kNone;
  bool wide = false;   // rows are dense and aligned to 16 bytes
  bool zeros = false;  // some run is kZero
  bool kept = false;   // goes into the workspace, not into pages: `head` is not looked at
  std::uint16_t head_size = 0;
  std::uint16_t rotary_dims = 0;
  std::uint16_t block = 1;  // of the matrix; 1: none
  std::uint8_t stores = 0;  // byte planes that are rANS-coded, or 1
  std::uint32_t run_count = 0;
  std::uint32_t runs = 0;               // offset of LaneRun[]
  std::uint32_t rows = 0;               // offset of std::int64_t[]: a token's row, from `head`
  std::uint32_t turns = 0;              // offset of float[]
  std::uint32_t turn_stride = 0;        // floats from one token's to the next's
  std::uint32_t exponents = kNoOffset;  // offset of a byte a token; none: all 0
  std::byte* head = nullptr;
  std::uint64_t kept_at = 0;  // in the workspace
  std::int64_t dim_stride = 0;
  const std::byte* tables = nullptr;  // null: the plan's own
  const std::byte* raw = nullptr;     // of kRaw: the strip's values
  // Of kNested. own: means, then scales, as bf16 of any alignment; null: `mean` and `scale`.
  const std::byte* own = nullptr;
  const float* mean = nullptr;
  const float* scale = nullptr;
  const std::uint16_t* order = nullptr;  // as Synthesis has it
  // Four numbers of a row at a time, four columns of all rows together: [column / 4][row].
  const std::uint32_t* matrix = nullptr;
};

struct LaneUnit {
  std::uint32_t strip = 0;
  std::uint32_t first_block = 0;
  std::uint32_t block_count = 0;
  std::uint32_t first_token = 0;
  std::uint32_t token_count = 0;
};

// A strip of exact on top of fine: what its words are made of once units have decoded fine and
// symbols into the workspace.
struct LaneCorrection {
  LaneStrip where;                     // of kRaw: rows, and by what exact values are turned
  std::uint64_t predicted = 0;         // in the workspace: words, [token][channel]
  std::uint64_t symbols = 0;           // in the workspace
  std::uint64_t sums = 0;              // in the workspace: std::uint64_t[], of each segment
  const std::byte* spreads = nullptr;  // of each channel
  const std::byte* bits = nullptr;     // a multiple of 4
  const std::byte* escapes = nullptr;
  std::uint32_t bits_bytes = 0;
  std::uint32_t escapes_bytes = 0;
  std::uint32_t wanted = 0;  // tokens that are written
  std::uint32_t first_unit = 0;
  std::uint32_t unit_count = 0;
  std::uint32_t first_segment = 0;
  std::uint32_t segment_count = 0;
};

// Some tokens of a correction: what one warp does.
struct LaneSegment {
  std::uint32_t correction = 0;
  std::uint32_t first_token = 0;
  std::uint32_t token_count = 0;
};

struct LanePlanHeader {
  std::uint32_t units = 0;        // offset of LaneUnit[]
  std::uint32_t strips = 0;       // offset of LaneStrip[]
  std::uint32_t blocks = 0;       // offset of LaneBlock[]
  std::uint32_t corrections = 0;  // offset of LaneCorrection[]
  std::uint32_t segments = 0;     // offset of LaneSegment[]
};

// How a unit's fast memory is dealt out; all parts are multiples of 16 bytes.
struct LaneMemory {
  std::uint32_t codes_bytes = 0;  // symbols or codes of the window
  std::uint32_t channels = 0;     // means and scales
  std::uint32_t slab_bytes = 0;   // of each warp, for sums of a matrix; 0: no strip has one

  static constexpr std::uint32_t kTableBytes = sizeof(LaneTable);
  static constexpr std::uint32_t kRingBytes = 512;
  static constexpr std::uint32_t kWarpBytes = kTableBytes + kRingBytes;

  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t TotalBytes(unsigned warps) const {
    return codes_bytes + 8 * channels + warps * (kWarpBytes + slab_bytes);
  }
};

// How a plan is launched.
struct LaunchShape {
  std::uint8_t dtype = 0;  // the number of a DType
  std::uint32_t units = 0;
  unsigned warps = 1;  // of a team, one team a unit
  LaneMemory memory;
  // Of exact on top of fine, after the units; and then memory of the caller's for what lies
  // between.
  std::uint32_t segments = 0;
  std::uint64_t workspace_bytes = 0;

  [[nodiscard]] std::uint32_t verdicts() const { return units + segments; }
};

// Values that a segment should keep to.
inline constexpr std::uint32_t kSegmentValues = 2048;
inline constexpr unsigned kSegmentWarps = 4;  // of a team, each with a segment of its own

// A slab: floats of consecutive tokens, and their codes in order.
inline constexpr std::uint32_t kSlabValues = 1024;
inline constexpr std::uint32_t kSlabTokensMax = 8;
inline constexpr std::uint32_t kSlabBytes = 5 * kSlabValues;
KDN_HOST_DEVICE inline std::uint32_t SlabTokens(std::uint32_t channels) {
  const std::uint32_t tokens = kSlabValues / channels;
  return tokens < kSlabTokensMax ? tokens : kSlabTokensMax;
}

}  // namespace kdn::codec
