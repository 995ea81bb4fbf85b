// How a run of symbols becomes lean rANS blocks, cut as BlockCut says, and those symbols again.
// docs/codec.md specifies the bytes.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/aligned_vector.h"
#include "codec/kernels/kernels.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {

// What a directory says of a block.
struct LeanSize {
  std::uint16_t bytes = 0;  // behind the head
  std::uint8_t tail = 0;

  [[nodiscard]] std::size_t BlockBytes() const {
    return RoundUp(kLeanHeadBytes + bytes, kBlockAlignment);
  }
};

// Fails `in` on what no block of so many symbols has: a tail longer than its steps, or more than
// a byte for each symbol before that and one a lane.
[[nodiscard]] LeanSize ReadLeanSize(ByteReader& in, std::size_t symbols);

// Appends the blocks to `data` and what a directory says of them to `directory`. `room`: scratch.
void AppendLeanBlocks(const Kernels& kernels, const RansEncodeTable& table,
                      std::span<const std::uint8_t> symbols, AlignedVector<std::byte>& room,
                      std::vector<std::byte>& directory, AlignedVector<std::byte>& data);

// A run as it lies in a tile: moves `at` behind its blocks and `sizes` to the next run's.
struct LeanRun {
  const std::byte* at = nullptr;
  const LeanSize* sizes = nullptr;

  void Skip(std::size_t symbols);
  // Adds its blocks, which decode to out[0] and up.
  void AddBlocks(const RansTable& table, std::size_t symbols, const std::byte* readable_end,
                 std::uint8_t* out, std::vector<RansBlock>& blocks);
};

}  // namespace kdn::codec
