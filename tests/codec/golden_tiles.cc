#include "tests/codec/golden_tiles.h"

#include <algorithm>

#include "codec/kernels/kernels.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

// Offsets in the golden bf16 tile: plane 0 has no shared table; its first run is rANS-coded, with
// the table at 2 and one word count behind it.
constexpr std::size_t kMode = 1;
constexpr std::size_t kTable = 2;

std::size_t WordCountAt(const std::vector<std::byte>& tile) {
  return kTable + 1 + 2 * static_cast<std::size_t>(tile[kTable]);
}

void Add(std::byte& b, int change) {
  b = static_cast<std::byte>(static_cast<int>(b) + change);
}

}  // namespace

TileShape GoldenShape(DType dtype) {
  return {.dtype = dtype, .layers = 2, .heads = 2, .tokens = 20, .head_size = 35};
}

std::vector<std::byte> GoldenValues(DType dtype) {
  const TileShape shape = GoldenShape(dtype);
  std::vector<std::byte> all;
  for (const Pattern pattern :
       {Pattern::kGaussian, Pattern::kConstant, Pattern::kZeroHeavy, Pattern::kRandomBits}) {
    const auto strip = MakeValues(dtype, pattern, shape.strip_values(), 77 + all.size());
    all.insert(all.end(), strip.begin(), strip.end());
  }
  return all;
}

std::string GoldenName(DType dtype) {
  return std::string(DTypeName(dtype)) + ".bin";
}

std::vector<GoldenDamage> GoldenDamages() {
  using Tile = std::vector<std::byte>;
  return {
      {"broken_truncated.bin", [](Tile& tile) { tile.erase(tile.end() - 16, tile.end()); }},
      {"broken_extended.bin", [](Tile& tile) { tile.resize(tile.size() + 16); }},
      {"broken_sharing.bin", [](Tile& tile) { tile[0] = std::byte{2}; }},
      {"broken_mode.bin", [](Tile& tile) { tile[kMode] = std::byte{3}; }},
      {"broken_table_empty.bin", [](Tile& tile) { tile[kTable] = std::byte{0}; }},
      {"broken_table_large.bin", [](Tile& tile) { tile[kTable] = std::byte{65}; }},
      {"broken_table_sum.bin", [](Tile& tile) { Add(tile[kTable + 2], 1); }},
      {"broken_table_order.bin", [](Tile& tile) { std::swap(tile[kTable + 1], tile[kTable + 3]); }},
      {"broken_words_many.bin", [](Tile& tile) { Add(tile[WordCountAt(tile) + 1], 0x40); }},
      {"broken_words_few.bin", [](Tile& tile) { Add(tile[WordCountAt(tile)], -2); }},
      {"broken_padding.bin", [](Tile& tile) { tile.back() = std::byte{1}; }},
      {"broken_stream.bin",
       [](Tile& tile) {
         // A symbol more of the most frequent at a lesser one's cost: sums hold, streams do not.
         Tile::iterator table = tile.begin() + kTable + 1;
         Add(table[2 * 8 + 1], 1);
         Add(table[2 * 9 + 1], -1);
       }},
  };
}

}  // namespace kdn::codec
