// The coder that CacheGen uses, to be measured against: torchac (Mentzer 2019), an arithmetic coder
// with 16-bit cumulative frequencies, 32-bit bounds, renormalisation bit by bit and, to decode, a
// 64-bit division and a binary search a symbol; and the quantiser and the tables in front of it.
//
// Follows the released code: LMCache's and CacheGen's `torch_quant_vectorized` (a scale a token
// over all channels of a layer, the largest magnitude), `cal_cdf` (a table per layer and channel,
// made of the symbols of this very chunk, 33 entries whatever the bins) and torchac's encoder and
// decoder (E1, E2 and E3 with pending bits, two closing bits). Where a GPU runs one thread a
// channel, this runs channel after channel on one core. Symbols of a channel lie one after the
// other, which is kinder to a CPU than the [token][channel] order of the GPU's kernels.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kdn::bench {

// Tables are made for 32 bins; what a channel of 16 bins does not use still takes its place.
inline constexpr std::size_t kTorchacBinsMax = 32;
inline constexpr std::size_t kTorchacTableEntries = kTorchacBinsMax + 1;

// Entry s is where symbol s begins, in 65536ths; the last symbol's end, 65536, is not written.
using TorchacTable = std::array<std::uint16_t, kTorchacTableEntries>;

// Quantises [token][channel] with `bins` bins (32 mean symbols 0 to 30, 15 for zero). symbols:
// [channel][token]; scales: one a token. A token of zeros has symbols for zero.
void TorchacQuantise(std::span<const float> values, std::size_t tokens, std::size_t channels,
                     unsigned bins, std::span<std::uint8_t> symbols, std::span<float> scales);

// The value that a symbol stands for.
[[nodiscard]] float TorchacValue(std::uint8_t symbol, float scale, unsigned bins);

// Requires: symbols below kTorchacBinsMax, at least one.
void TorchacFillTable(std::span<const std::uint8_t> symbols, TorchacTable& table);

// Appends the code of the symbols, in whole bytes. Requires: symbols below kTorchacBinsMax.
void TorchacEncode(const TorchacTable& table, std::span<const std::uint8_t> symbols,
                   std::vector<std::byte>& code);

// Decodes as many symbols as there is room for; what follows the code is taken for zeros.
void TorchacDecode(const TorchacTable& table, std::span<const std::byte> code,
                   std::span<std::uint8_t> symbols);

// One layer's keys or values of a chunk as CacheGen stores them.
struct TorchacPlane {
  std::size_t tokens = 0;
  std::size_t channels = 0;
  unsigned bins = 0;
  std::vector<float> scales;          // [token]
  std::vector<TorchacTable> tables;   // [channel]
  std::vector<std::uint32_t> length;  // [channel]: bytes of its code
  std::vector<std::byte> code;        // channel after channel

  // Bytes as LMCache ships them: codes, tables and lengths of 4 bytes, scales of 2 bytes.
  [[nodiscard]] std::size_t SizeBytes() const {
    return code.size() + tables.size() * sizeof(TorchacTable) + 4 * length.size() +
           2 * scales.size();
  }
};

// All of the above. `symbols` is scratch.
void TorchacEncodePlane(std::span<const float> values, std::size_t tokens, std::size_t channels,
                        unsigned bins, std::vector<std::uint8_t>& symbols, TorchacPlane& plane);
// values: [token][channel].
void TorchacDecodePlane(const TorchacPlane& plane, std::span<float> values);

}  // namespace kdn::bench
