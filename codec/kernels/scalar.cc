// The specification of every kernel, in plain C++.
#include <bit>
#include <cstring>

#include "codec/kernels/correct_one_by_one.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"
#include "codec/kernels/synthesis.h"
#include "codec/kernels/value_bits.h"

namespace kdn::codec {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values and words are little-endian in tiles and are loaded as they stand");

bool RansDecode(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  for (std::size_t b = 0; b < block_count; ++b) {
    RansCursor cursor;
    std::memcpy(cursor.state, blocks[b].states, kRansStateBytes);
    cursor.next = blocks[b].states + kRansStateBytes;
    cursor.done = 0;
    cursor.in_tail = false;
    good = RansFinish(blocks[b], cursor) && good;
  }
  return good;
}

}  // namespace

bool RansFinish(const RansBlock& block, RansCursor& cursor) {
  const std::byte* next = cursor.next;
  bool starved = false;
  for (std::size_t i = cursor.done; i < block.count; ++i) {
    std::uint32_t& x = cursor.state[i % kRansLanes];
    const std::uint32_t slot = block.table->slot[x % kRansSlots];
    block.symbols[i] = static_cast<std::uint8_t>(slot);
    x = ((slot >> 8) & 0xFF) * (x >> kRansProbBits) + (slot >> 16);
    if (x < kRansStart) {
      std::uint16_t word = 0;
      if (next < block.end) {
        std::memcpy(&word, next, sizeof(word));
        next += sizeof(word);
      } else {
        starved = true;
      }
      x = (x << 16) | word;
    }
  }
  cursor.next = next;
  cursor.done = block.count;
  std::uint32_t off = 0;
  for (const std::uint32_t x : cursor.state) off |= x ^ kRansStart;
  return off == 0 && next == block.end && !starved;
}

std::size_t RansEncode(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::uint16_t* words, std::uint32_t* states) {
  for (std::size_t lane = 0; lane < kRansLanes; ++lane) states[lane] = kRansStart;
  std::uint16_t* first = words + count;  // at most one word a symbol, so this never underruns
  for (std::size_t i = count; i-- > 0;) {
    std::uint32_t& x = states[i % kRansLanes];
    const std::size_t index = table.index_of_symbol[symbols[i]];
    const std::uint32_t frequency = table.frequency[index];
    if (x >> 24 >= frequency) {
      *--first = static_cast<std::uint16_t>(x);
      x >>= 16;
    }
    const auto quotient = static_cast<std::uint32_t>((x * table.reciprocal[index]) >> 40);
    x += quotient * (static_cast<std::uint32_t>(kRansSlots) - frequency) + table.cumulative[index];
  }
  return static_cast<std::size_t>(words + count - first);
}

constinit const Kernels kScalarKernels{
    .name = "scalar",
    .split = {SplitRows<OneByOne<Bf16Bits>>, SplitRows<OneByOne<Fp16Bits>>,
              SplitRows<OneByOne<Fp32Bits>>, SplitRows<OneByOne<Fp8E4M3Bits>>,
              SplitRows<OneByOne<Fp8E5M2Bits>>},
    .merge = {MergeRows<OneByOne<Bf16Bits>>, MergeRows<OneByOne<Fp16Bits>>,
              MergeRows<OneByOne<Fp32Bits>>, MergeRows<OneByOne<Fp8E4M3Bits>>,
              MergeRows<OneByOne<Fp8E5M2Bits>>},
    .pack = PackOneByOne,
    .unpack = UnpackOneByOne,
    .rans_encode = RansEncode,
    .rans_decode = RansDecode,
    .lean_encode = LeanEncode,
    .lean_decode = LeanDecode,
    .class_codes = CodesOneByOne,
    .synthesise = {SynthesiseOneByOne<Bf16Number>, SynthesiseOneByOne<Fp16Number>,
                   SynthesiseOneByOne<Fp32Number>, SynthesiseOneByOne<Fp8E4M3Number>,
                   SynthesiseOneByOne<Fp8E5M2Number>},
    .correct = {CorrectOneByOne<Bf16Words>, CorrectOneByOne<Fp16Words>, CorrectOneByOne<Fp32Words>,
                CorrectOneByOne<Fp8E4M3Words>, CorrectOneByOne<Fp8E5M2Words>},
    .stream_rows = StreamRowsOneByOne,
    .stream_fence = NothingToFence,
    .encode = &kScalarEncode,
};

}  // namespace kdn::codec
