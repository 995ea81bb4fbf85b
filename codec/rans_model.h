// The statistics behind one rANS table: which symbols occur and how often, in 256ths. Made from a
// histogram, written into a tile, read back with every bound checked, turned into the tables that
// the kernels use.
//
// Knows nothing of tiles. Thread-safety: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec {

using Histogram = std::array<std::uint32_t, 256>;

// Adds the counts of `symbols`.
void CountSymbols(std::span<const std::uint8_t> symbols, Histogram& histogram);
// Different symbols that occur.
[[nodiscard]] std::size_t DistinctSymbols(const Histogram& histogram);

// Frequencies are at least 1 and add up to 256; symbols ascend.
struct RansModel {
  std::uint8_t count = 0;  // 2..kRansSymbolsMax
  std::array<std::uint8_t, kRansSymbolsMax> symbol{};
  std::array<std::uint8_t, kRansSymbolsMax> frequency{};

  // As written: the count, then symbol and frequency of each.
  [[nodiscard]] std::size_t SizeBytes() const { return 1 + 2 * std::size_t{count}; }
};

// The model that codes `histogram` in the fewest bits. Requires: 2 to kRansSymbolsMax symbols
// occur.
[[nodiscard]] RansModel ModelOf(const Histogram& histogram);

// Bits that coding `histogram` under `model` takes, states not counted. Requires: the model has
// every symbol that occurs.
[[nodiscard]] std::uint64_t CostBits(const Histogram& histogram, const RansModel& model);

// Writes SizeBytes() bytes.
void WriteModel(const RansModel& model, std::byte* out);
// Fails `in` on anything that ModelOf() could not have made for symbols below 2^bits.
[[nodiscard]] RansModel ReadModel(ByteReader& in, unsigned bits);

void FillDecodeTable(const RansModel& model, RansTable& table);
void FillEncodeTable(const RansModel& model, RansEncodeTable& table);

}  // namespace kdn::codec
