// Goal: a model's frequencies add up, cost what they say, and are read back only if valid.
#include "codec/rans_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace kdn::codec {
namespace {

RansModel ReadBack(std::vector<std::byte> bytes, unsigned bits, bool& ok) {
  ByteReader in(bytes);
  const RansModel model = ReadModel(in, bits);
  ok = in.AtEnd();
  return model;
}

std::vector<std::byte> Bytes(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(RansModel, FrequenciesAddUpForEveryShapeOfHistogram) {
  for (std::uint32_t distinct = 2; distinct <= kRansSymbolsMax; ++distinct) {
    for (const std::uint32_t ratio : {1U, 2U, 3U, 17U}) {
      Histogram histogram{};
      std::uint32_t count = 1;
      for (std::uint32_t s = 0; s < distinct; ++s) {
        histogram[s * 4] = count;
        count = std::min(count * ratio, 1U << 25);
      }
      const RansModel model = ModelOf(histogram);
      ASSERT_EQ(model.count, distinct);
      std::uint32_t sum = 0;
      for (std::size_t i = 0; i < model.count; ++i) {
        ASSERT_GE(model.frequency[i], 1);
        sum += model.frequency[i];
      }
      ASSERT_EQ(sum, kRansSlots) << distinct << " symbols, ratio " << ratio;
    }
  }
}

TEST(RansModel, NoSingleMoveOfAFrequencyCostsLess) {
  Histogram histogram{};
  const std::uint32_t counts[] = {3, 12, 40, 100, 300, 1186, 2376, 3872, 5327, 2334, 62};
  for (std::size_t i = 0; i < std::size(counts); ++i) histogram[110 + i] = counts[i];
  const RansModel best = ModelOf(histogram);
  const std::uint64_t cost = CostBits(histogram, best);
  for (std::size_t from = 0; from < best.count; ++from) {
    for (std::size_t to = 0; to < best.count; ++to) {
      if (from == to || best.frequency[from] == 1) continue;
      RansModel moved = best;
      --moved.frequency[from];
      ++moved.frequency[to];
      EXPECT_GE(CostBits(histogram, moved) + 1, cost) << from << " to " << to;
    }
  }
}

TEST(RansModel, CostIsTheCrossEntropy) {
  Histogram histogram{};
  histogram[7] = 1000;
  histogram[9] = 3000;
  histogram[200] = 12;
  const RansModel model = ModelOf(histogram);
  double bits = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    bits += histogram[model.symbol[i]] * -std::log2(model.frequency[i] / 256.0);
  }
  EXPECT_NEAR(static_cast<double>(CostBits(histogram, model)), bits, 2.0);
}

TEST(RansModel, WhatIsWrittenIsReadBack) {
  Histogram histogram{};
  for (std::size_t s = 0; s < kRansSymbolsMax; ++s)
    histogram[s] = static_cast<std::uint32_t>(s + 1);
  const RansModel model = ModelOf(histogram);
  std::vector<std::byte> bytes(model.SizeBytes());
  WriteModel(model, bytes.data());
  bool ok = false;
  const RansModel read = ReadBack(bytes, 6, ok);
  EXPECT_TRUE(ok);
  EXPECT_EQ(read.count, model.count);
  EXPECT_EQ(read.symbol, model.symbol);
  EXPECT_EQ(read.frequency, model.frequency);
}

TEST(RansModel, EveryInvalidTableIsRefused) {
  const std::vector<std::byte> broken[] = {
      Bytes({}),                         // nothing
      Bytes({0}),                        // no symbol
      Bytes({1, 5, 255}),                // one symbol is a constant run
      Bytes({65}),                       // too many
      Bytes({2, 5, 100, 6}),             // cut off
      Bytes({2, 5, 100, 6, 155}),        // sums to 255
      Bytes({2, 5, 101, 6, 156}),        // sums to 257
      Bytes({2, 6, 100, 5, 156}),        // descending
      Bytes({2, 6, 100, 6, 156}),        // twice the same
      Bytes({3, 5, 100, 6, 0, 7, 156}),  // a frequency of 0
      Bytes({2, 5, 100, 16, 156}),       // a symbol too wide for 4 bits
  };
  for (const auto& bytes : broken) {
    bool ok = true;
    (void)ReadBack(bytes, 4, ok);
    EXPECT_FALSE(ok) << testing::PrintToString(bytes.size());
  }
  bool ok = false;
  (void)ReadBack(Bytes({2, 5, 100, 15, 156}), 4, ok);
  EXPECT_TRUE(ok);
}

TEST(CountSymbols, AddsToWhatIsThere) {
  std::vector<std::uint8_t> symbols(1003, 9);
  symbols[5] = 0;
  symbols[1002] = 255;
  Histogram histogram{};
  histogram[9] = 7;
  CountSymbols(symbols, histogram);
  EXPECT_EQ(histogram[9], 1008U);
  EXPECT_EQ(histogram[0], 1U);
  EXPECT_EQ(histogram[255], 1U);
  EXPECT_EQ(DistinctSymbols(histogram), 3U);
}

TEST(RansEncodeTable, CompactTablesDivideExactly) {
  // The quotient is wrong first at the largest states that leave the largest remainder.
  unsigned compact = 0;
  for (std::uint32_t f = 1; f < 256; ++f) {
    RansModel model;
    model.count = 2;
    model.symbol = {31, 32};
    model.frequency = {static_cast<std::uint8_t>(f), static_cast<std::uint8_t>(256 - f)};
    RansEncodeTable table;
    FillEncodeTable(model, table);
    ASSERT_TRUE(table.is_narrow);
    if (!table.is_compact) continue;
    ++compact;
    for (std::uint64_t back = 1; back < 3000; ++back) {
      const std::uint64_t x = (std::uint64_t{f} << 24) - back;
      ASSERT_EQ((x * table.magic[31] >> 31) >> table.shift[31], x / f) << f << ", " << x;
    }
    ASSERT_EQ(table.magic[31 ^ 32], table.magic[31]);
  }
  EXPECT_GT(compact, 180U);
}

TEST(RansEncodeTable, LeanTablesDivideAnyStateOf24BitsExactly) {
  for (std::uint32_t f = 1; f < 256; ++f) {
    RansModel model;
    model.count = 2;
    model.symbol = {31, 32};
    model.frequency = {static_cast<std::uint8_t>(f), static_cast<std::uint8_t>(256 - f)};
    RansEncodeTable table;
    FillEncodeTable(model, table);
    const std::uint64_t magic = table.lean_magic[31];
    ASSERT_EQ(table.lean_magic[31 ^ 32], magic);
    // A quotient that is too small shows at multiples, one too large just before; the larger the
    // state, the sooner.
    const std::uint64_t last = (1U << 24) - 1;
    for (std::uint64_t back = 0; back < 3000; ++back) {
      for (const std::uint64_t x : {last - back, back, (last / f - back % (last / f)) * f}) {
        ASSERT_EQ((x + 1) * magic >> 32, x / f) << f << ", " << x;
      }
    }
  }
}

TEST(RansEncodeTable, SymbolsFarApartAreNotCompact) {
  RansModel model;
  model.count = 2;
  model.symbol = {10, 73};
  model.frequency = {128, 128};
  RansEncodeTable table;
  FillEncodeTable(model, table);
  EXPECT_TRUE(table.is_compact);
  EXPECT_FALSE(table.is_narrow);
  model.symbol = {10, 74};
  FillEncodeTable(model, table);
  EXPECT_FALSE(table.is_compact);
}

}  // namespace
}  // namespace kdn::codec
