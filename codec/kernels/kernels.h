// The inner loops of the codec: one table of functions per instruction set.
//
// Contract shared by every table: same input, same output, bit for bit, the encoder's included. The
// scalar table is the specification; the others exist only to be faster. tests/codec holds them to
// it. docs/codec.md describes planes and the rANS layout.
//
// Knows nothing of tiles, models or paged memory. Thread-safety: kernels are pure functions of
// their arguments; none allocates.
//
// This header is seen by files compiled for one instruction set, so it defines no functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kdn::codec {

inline constexpr std::size_t kKernelDTypes = 5;  // index: the number of a DType
inline constexpr std::size_t kPlanesMax = 4;     // byte planes of one value

inline constexpr std::size_t kRansLanes = 32;
inline constexpr unsigned kRansProbBits = 8;  // frequencies of a table add up to 256
inline constexpr std::size_t kRansSlots = 256;
inline constexpr std::size_t kRansSymbolsMax = 64;  // different symbols of one table
inline constexpr std::uint32_t kRansStart = 1U << 16;
inline constexpr std::size_t kRansStateBytes = 4 * kRansLanes;

// A lean block (docs/codec.md) spends little on its states. They have 24 bits and take bytes.
// Before the last steps, its tail, some lanes take one byte more; in the tail none does, and the
// last four symbols of a lane are what its state ends with. Symbols are below 64.
inline constexpr std::uint32_t kLeanLow = 1U << 16;   // a state below wants a byte
inline constexpr std::uint32_t kLeanHigh = 1U << 24;  // states are below this, but for the tail's
// Components that spread alike lie in the same lanes all along; the ends of lane l are those of the
// symbols that lie where lane kLeanMirror - l was, so that lanes come to about as many bits.
inline constexpr std::size_t kLeanMirror = kRansLanes - 1;
// 16 lower bits of each state, 8 upper ones of each, one bit a lane: which take one byte more.
inline constexpr std::size_t kLeanHeadBytes = 3 * kRansLanes + kRansLanes / 8;
inline constexpr std::size_t kLeanTailMax = 255;
inline constexpr std::size_t kLeanEndSteps = 4;

// Four symbols as one number: each has a rank, by its distance from the middle; two ranks are a
// pair, two pairs the number. Pairs are counted in the order of the larger part: (a, b), a being
// nearer to the end, is number max(a, b)^2 + (a < b ? a : max(a, b) + b).
inline constexpr unsigned kLeanMiddle = 32;
struct LeanEnds {
  std::uint32_t count = 1;  // of numbers that a table's symbols make: a fourth power
  std::uint32_t bits = 0;   // 2^bits is the first power of two not below that
};

// What decoding needs of one table, in the shapes that the instruction sets like. Symbols are
// numbered densely in ascending order; `index` is that number.
struct RansTable {
  alignas(64) std::uint8_t index_of_slot[kRansSlots];
  alignas(64) std::uint8_t frequency[kRansSymbolsMax];
  alignas(64) std::uint8_t cumulative[kRansSymbolsMax];  // sum of the frequencies before
  alignas(64) std::uint8_t symbol[kRansSymbolsMax];
  std::uint32_t slot[kRansSlots];  // symbol | frequency << 8 | (slot - cumulative) << 16
  LeanEnds ends;                   // of lean blocks
};

// What encoding needs of one table. Entries of symbols that do not occur are not to be read.
struct RansEncodeTable {
  alignas(64) std::uint8_t index_of_symbol[256];
  alignas(64) std::uint8_t frequency[kRansSymbolsMax];
  alignas(64) std::uint8_t cumulative[kRansSymbolsMax];
  // ceil(2^40 / frequency): (x · this) >> 40 is x / frequency for every x < frequency · 2^24.
  std::uint64_t reciprocal[kRansSymbolsMax];

  // The same for kernels that look up by symbol % 64; made if the symbols lie less than 64 apart
  // and 32 bits are enough to divide by: ((x · magic) >> 31) >> shift is x / frequency.
  bool is_compact;
  bool is_narrow;  // symbols lie less than 32 apart, and magic[i] is magic[i ^ 32]
  alignas(64) std::uint8_t compact_frequency[kRansSymbolsMax];
  alignas(64) std::uint8_t compact_cumulative[kRansSymbolsMax];
  alignas(64) std::uint8_t shift[kRansSymbolsMax];
  alignas(64) std::uint32_t magic[kRansSymbolsMax];
  // Of lean blocks, by symbol, floor((2^32 - 1) / frequency): (x + 1) · this >> 32 is x / frequency
  // for every x < 2^24. If is_narrow, lean_magic[i] is lean_magic[i ^ 32].
  alignas(64) std::uint32_t lean_magic[kRansSymbolsMax];
  LeanEnds ends;  // of lean blocks
};

// One block: 32 states of 4 bytes at `states`, then 16-bit words up to `end`; little-endian. A lean
// block: kLeanHeadBytes at `states`, then bytes.
struct RansBlock {
  const RansTable* table = nullptr;
  const std::byte* states = nullptr;
  const std::byte* end = nullptr;           // of the words; behind the states at least
  const std::byte* readable_end = nullptr;  // memory may be read, not used, up to here; >= end
  std::uint8_t* symbols = nullptr;          // out: `count` of them
  std::size_t count = 0;
  std::size_t tail = 0;  // of a lean block: at most kLeanTailMax
};

// Components of one class: coded alike, `width` of them a token.
inline constexpr std::size_t kClassPlanesMax = 5;
struct ClassCodes {
  std::size_t width = 0;                  // a multiple of 16
  const std::uint8_t* symbols = nullptr;  // [token][width], below 64
  std::int8_t lut[64];                    // what a symbol stands for, in code units
  // Raw planes, the most significant first: bit i of plane p, the lowest of a byte first, belongs
  // to symbol i and adds 1 << (plane_shift - p).
  std::size_t planes = 0;
  unsigned plane_shift = 0;
  const std::byte* plane[kClassPlanesMax];
};

enum class RotaryPairs : std::uint8_t {
  kNone,
  kHalves,
  kNeighbours
};  // (i, i + n/2), (2i, 2i + 1)

// From codes to values: x[c] = mean[c] + scale[c] · 2^exponent · sum over k of matrix[c][k] ·
// code[k], then the pairs of the first `rotary_dims` channels are turned. All sums of products are
// exact in 32 bits; every step in float rounds once, in the order written here.
struct Synthesis {
  std::size_t channels = 0;  // a multiple of 16, at most 1024
  // Which code is component k: order[k]; null: code[k].
  const std::uint16_t* order = nullptr;
  // Rows of `block` numbers: row c multiplies components (c - c % block) ... of the ordered codes;
  // block 1: no matrix, x[c] = mean[c] + scale[c] · 2^exponent · code.
  std::size_t block = 1;
  const std::int8_t* matrix = nullptr;
  // The same for kernels that like it so, unread with block 1. The columns of each block in another
  // order, which tiled_order has instead of `order`; of block b only the first columns[b], a
  // multiple of 4, meet codes that are not 0. For every 16 rows and 4 columns there are 64 bytes,
  // row by row. row_sums: of each row, over those columns.
  const std::int8_t* tiled = nullptr;
  const std::uint16_t* tiled_order = nullptr;  // null: component k is code k
  const std::uint16_t* columns = nullptr;
  const std::int32_t* row_sums = nullptr;
  const float* mean = nullptr;
  const float* scale = nullptr;
  RotaryPairs pairs = RotaryPairs::kNone;
  std::size_t rotary_dims = 0;
  // The rows are not read again soon: stores may go around the caches. They are in order for other
  // threads after stream_fence().
  bool stream = false;
};

// Codes of consecutive tokens. Row t: codes + t · stride, exponents[t] (null: 0), turns + t ·
// rotary_dims (cosines, then sines of the pairs; unread without pairs).
struct CodeRows {
  const std::int8_t* codes = nullptr;
  std::size_t stride = 0;
  const std::uint8_t* exponents = nullptr;
  const float* turns = nullptr;
  std::size_t tokens = 0;
};

// From the predicted words of one strip, [token][channel], to the engine's: docs/codec.md, "Exact
// on top of fine".
inline constexpr std::size_t kCorrectionChannelsMax = 1024;
struct Correction {
  std::size_t channels = 0;  // a multiple of 16, at most kCorrectionChannelsMax
  std::size_t tokens = 0;
  const std::int8_t* spreads = nullptr;   // of each channel
  const std::uint8_t* symbols = nullptr;  // of each value, below 64
  const std::byte* bits = nullptr;        // below the symbols, one value after the other
  std::size_t bits_bytes = 0;
  const std::byte* escapes = nullptr;  // words
  std::size_t escapes_bytes = 0;
  const std::byte* readable_end = nullptr;  // memory may be read, not used, up to here from both
};

struct EncodeKernels;  // encode_kernels.h

struct Kernels {
  std::string_view name;

  // Cuts rows of values into planes, one byte a value and plane. Row r lies at values + r ·
  // row_stride and goes to planes[p] + r · row_values. Requires: the arrays do not overlap.
  void (*split[kKernelDTypes])(const std::byte* values, std::ptrdiff_t row_stride, std::size_t rows,
                               std::size_t row_values, std::uint8_t* const* planes);

  // Undoes split. Writes nothing but the rows. Bits of a plane above its width must be 0.
  void (*merge[kKernelDTypes])(const std::uint8_t* const* planes, std::size_t rows,
                               std::size_t row_values, std::byte* values,
                               std::ptrdiff_t row_stride);

  // Packs bytes below 2^bits, `bits` being 2 or 4, the first into the lowest bits of the first
  // byte; bits left over in the last byte are 0. `out` holds ceil(count · bits / 8) bytes.
  void (*pack)(unsigned bits, const std::uint8_t* in, std::size_t count, std::byte* out);
  void (*unpack)(unsigned bits, const std::byte* in, std::size_t count, std::uint8_t* out);

  // Codes one block. The words end at words + count and begin at words + count - (the result), in
  // the order in which a decoder takes them. Requires: `words` holds `count`; every symbol is in
  // the table.
  std::size_t (*rans_encode)(const RansEncodeTable& table, const std::uint8_t* symbols,
                             std::size_t count, std::uint16_t* words, std::uint32_t* states);

  // Decodes the blocks; false if one of them is not what an encoder wrote: after its last symbol
  // every state must be back at kRansStart and every word used. Any bytes give an answer; all
  // symbols are then written, if false with unspecified values. Blocks that share a table and
  // follow one another are fastest.
  bool (*rans_decode)(const RansBlock* blocks, std::size_t block_count);

  // Codes one lean block, which ends at out + kLeanHeadBytes + count and begins at that less the
  // result. Requires: `out` holds so much; count > 0; every symbol is in the table and below 64.
  std::size_t (*lean_encode)(const RansEncodeTable& table, const std::uint8_t* symbols,
                             std::size_t count, std::byte* out, std::uint8_t* tail);

  // Decodes lean blocks, as rans_decode does its own. Each state must end as an encoder begins: as
  // four ranks that the table's symbols have, and above them no bit or one. Requires: tables of
  // symbols below 64, count > 0.
  bool (*lean_decode)(const RansBlock* blocks, std::size_t block_count);

  // Writes the codes of one class: token t's at out + t · stride.
  void (*class_codes)(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                      std::size_t stride);

  // Turns rows of codes into rows of values, that of token t to values + rows[t].
  void (*synthesise[kKernelDTypes])(const Synthesis& synthesis, const CodeRows& codes,
                                    std::byte* values, const std::ptrdiff_t* rows);

  // Corrects the words at `values`, which lie one after the other. False unless that takes all bits
  // and escapes, those left over in the last byte being 0; the words are then unspecified.
  bool (*correct[kKernelDTypes])(const Correction& correction, std::byte* values);

  // Copies rows that lie one after the other to to + at[0], to + at[1], ... They are not read again
  // soon: stores may go around the caches.
  void (*stream_rows)(const std::byte* rows, std::size_t row_bytes, std::size_t count,
                      std::byte* to, const std::ptrdiff_t* at);
  // After the last stream_rows() or row with Synthesis::stream, on the thread that called it:
  // then other threads see the rows in order.
  void (*stream_fence)();

  // What else encoding needs.
  const EncodeKernels* encode;
};

extern const Kernels kScalarKernels;  // The specification. Always built, always supported.
extern const Kernels kAvx2Kernels;    // Built on x86-64 only, as is the next.
extern const Kernels kAvx512Kernels;  // Needs AVX-512 F, BW, DQ, VL, VBMI, VBMI2 and VNNI, BMI2.

// A decoder that stopped after `done` symbols, a multiple of kRansLanes. Without initialisers: the
// constructor that they bring would be shared by files for different instruction sets.
struct RansCursor {
  std::uint32_t state[kRansLanes];
  const std::byte* next;  // the first unused word; may be behind the block's end
  std::size_t done;
  bool in_tail;  // of a lean block: lanes have taken their additional bytes
};

// Scalar code that other tables may use; compiled without machine flags.
// Decodes the rest of a block from where `cursor` stands, and judges it as rans_decode does.
bool RansFinish(const RansBlock& block, RansCursor& cursor);
std::size_t RansEncode(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::uint16_t* words, std::uint32_t* states);

// The same of lean blocks.
bool LeanDecode(const RansBlock* blocks, std::size_t block_count);
bool LeanFinish(const RansBlock& block, RansCursor& cursor);
// Takes the lanes' additional bytes; no more than there are. False if there are too few.
bool LeanEnterTail(const RansBlock& block, RansCursor& cursor);
std::size_t LeanEncode(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::byte* out, std::uint8_t* tail);
// The states of an encoder behind the tail: fills `states`, and returns how long that is.
std::size_t LeanStarts(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::uint32_t* states);

}  // namespace kdn::codec
