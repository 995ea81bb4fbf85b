// Goal: every kernel table computes exactly what the scalar table computes, the encoder's words
// included. Method: run each table that this CPU supports over the sizes, strides and bit patterns
// where vector code breaks, and compare bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "codec/kernels/select.h"
#include "codec/plane_layout.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

using Symbols = std::vector<std::uint8_t>;

// A vector of `planes` planes behind one another, each of `count` and `guard` bytes.
struct Planes {
  Planes(std::size_t planes, std::size_t count) : stride(count + kGuard) {
    bytes.assign(planes * stride, 0xA5);
  }
  static constexpr std::size_t kGuard = 70;
  std::size_t stride;
  Symbols bytes;
  template <class T>
  std::vector<T*> Pointers() {
    std::vector<T*> pointers;
    for (std::size_t at = 0; at < bytes.size(); at += stride) pointers.push_back(&bytes[at]);
    return pointers;
  }
};

class EachKernels : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& kernels() const { return *GetParam(); }
};

struct Rows {
  std::size_t rows;
  std::size_t row_values;
  std::ptrdiff_t gap_bytes;  // between rows
};

const Rows kRowShapes[] = {{1, 1, 0},    {1, 15, 0},  {3, 16, 5},  {2, 31, 0},  {2, 32, 64},
                           {5, 33, 1},   {2, 63, 0},  {4, 64, 0},  {3, 65, 2},  {2, 80, 8},
                           {2, 127, 0},  {2, 128, 0}, {1, 192, 0}, {3, 255, 3}, {2, 256, 0},
                           {1, 1024, 0}, {0, 64, 0}};

TEST_P(EachKernels, SplitAndMergeMatchScalarForEveryTypeAndRowShape) {
  for (const DType dtype : kAllDTypes) {
    const auto type = static_cast<std::size_t>(dtype);
    const std::size_t plane_count = PlanesOf(dtype).size();
    for (const Rows& shape : kRowShapes) {
      SCOPED_TRACE(testing::Message() << DTypeName(dtype) << " row of " << shape.row_values);
      const std::size_t row_bytes = shape.row_values * DTypeBytes(dtype);
      const auto stride = static_cast<std::ptrdiff_t>(row_bytes) + shape.gap_bytes;
      const auto values = MakeValues(dtype, Pattern::kRandomBits,
                                     shape.rows * shape.row_values + 1000, shape.row_values);
      Planes want(plane_count, shape.rows * shape.row_values);
      Planes got = want;
      const auto want_planes = want.Pointers<std::uint8_t>();
      const auto got_planes = got.Pointers<std::uint8_t>();
      kScalarKernels.split[type](values.data(), stride, shape.rows, shape.row_values,
                                 want_planes.data());
      kernels().split[type](values.data(), stride, shape.rows, shape.row_values, got_planes.data());
      ASSERT_EQ(want.bytes, got.bytes);

      std::vector<std::byte> merged(values.size(), std::byte{0x5A});
      const auto planes = got.Pointers<const std::uint8_t>();
      kernels().merge[type](planes.data(), shape.rows, shape.row_values, merged.data(), stride);
      std::vector<std::byte> expected(values.size(), std::byte{0x5A});
      for (std::size_t r = 0; r < shape.rows; ++r) {
        const auto at = static_cast<std::ptrdiff_t>(r) * stride;
        std::memcpy(expected.data() + at, values.data() + at, row_bytes);
      }
      ASSERT_EQ(expected, merged);
    }
  }
}

TEST_P(EachKernels, RowsMayRunBackwards) {
  const auto values = MakeValues(DType::kBf16, Pattern::kGaussian, 64 * 8, 3);
  Planes planes(2, 64 * 8);
  const auto pointers = planes.Pointers<std::uint8_t>();
  kernels().split[0](values.data() + 7 * 128, -128, 8, 64, pointers.data());
  std::vector<std::byte> merged(values.size());
  const auto read = planes.Pointers<const std::uint8_t>();
  kernels().merge[0](read.data(), 8, 64, merged.data() + 7 * 128, -128);
  EXPECT_EQ(values, merged);
}

TEST_P(EachKernels, MergeDropsBitsAboveThePlane) {
  // Raw planes of six bits come from the wire as whole bytes.
  for (const DType dtype : {DType::kFp16, DType::kFp8E5M2}) {
    const auto type = static_cast<std::size_t>(dtype);
    Planes planes(PlanesOf(dtype).size(), 256);
    std::fill(planes.bytes.begin(), planes.bytes.end(), 0);
    for (std::size_t i = 0; i < 256; ++i) planes.bytes[i] = static_cast<std::uint8_t>(i);
    const auto pointers = planes.Pointers<const std::uint8_t>();
    std::vector<std::byte> want(256 * DTypeBytes(dtype));
    std::vector<std::byte> got = want;
    kScalarKernels.merge[type](pointers.data(), 1, 256, want.data(), 0);
    kernels().merge[type](pointers.data(), 1, 256, got.data(), 0);
    EXPECT_EQ(want, got);
  }
}

TEST_P(EachKernels, PackAndUnpackMatchScalarAroundEveryLaneBoundary) {
  for (const unsigned bits : {2U, 4U}) {
    for (std::size_t count = 0; count <= 200; ++count) {
      Symbols in(count);
      for (std::size_t i = 0; i < count; ++i) {
        in[i] = static_cast<std::uint8_t>((i * 7 + i / 3) & ((1U << bits) - 1));
      }
      std::vector<std::byte> want(RawRunBytes(count, bits) + 40, std::byte{0xEE});
      std::vector<std::byte> got = want;
      kScalarKernels.pack(bits, in.data(), count, want.data());
      kernels().pack(bits, in.data(), count, got.data());
      ASSERT_EQ(want, got) << bits << " bits, " << count;
      Symbols out(count + 40, 0xEE);
      kernels().unpack(bits, want.data(), count, out.data());
      ASSERT_TRUE(std::equal(in.begin(), in.end(), out.begin())) << bits << " bits, " << count;
      ASSERT_EQ(std::count(out.begin() + static_cast<std::ptrdiff_t>(count), out.end(), 0xEE), 40);
    }
  }
}

// Symbols of `distinct` kinds, the first common and the rest ever rarer.
Symbols SkewedSymbols(std::size_t count, unsigned distinct, std::uint64_t seed) {
  const auto draws = MakeValues(DType::kFp32, Pattern::kRandomBits, count, seed);
  Symbols symbols(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t draw = 0;
    std::memcpy(&draw, draws.data() + 4 * i, 4);
    const auto rank = static_cast<unsigned>(__builtin_ctz(draw | 0x80000000U)) * 2 + (draw >> 31);
    symbols[i] = static_cast<std::uint8_t>(3 * (rank % distinct) + 1);
  }
  for (unsigned s = 0; s < distinct && s < count; ++s) {
    symbols[s] = static_cast<std::uint8_t>(3 * s + 1);
  }
  return symbols;
}

// One coded block: states, words, and as much behind it as a test wants.
struct Coded {
  RansTable table;
  std::vector<std::byte> bytes;
  std::size_t count = 0;

  RansBlock Block(std::uint8_t* out) const {
    const std::byte* end = bytes.data() + bytes.size();
    return {.table = &table,
            .states = bytes.data(),
            .end = end,
            .readable_end = end,
            .symbols = out,
            .count = count};
  }
};

Coded EncodeWith(const Kernels& kernels, const Symbols& symbols) {
  Histogram histogram{};
  CountSymbols(symbols, histogram);
  const RansModel model = ModelOf(histogram);
  Coded coded;
  coded.count = symbols.size();
  RansEncodeTable table;
  FillEncodeTable(model, table);
  FillDecodeTable(model, coded.table);
  std::vector<std::uint16_t> words(symbols.size());
  std::uint32_t states[kRansLanes];
  const std::size_t used =
      kernels.rans_encode(table, symbols.data(), symbols.size(), words.data(), states);
  coded.bytes.resize(kRansStateBytes + 2 * used);
  std::memcpy(coded.bytes.data(), states, kRansStateBytes);
  std::memcpy(coded.bytes.data() + kRansStateBytes, words.data() + (words.size() - used), 2 * used);
  return coded;
}

TEST_P(EachKernels, RansWordsMatchScalarAndDecode) {
  for (const unsigned distinct : {2U, 3U, 17U, 33U, 64U}) {
    for (const std::size_t count : {2U, 31U, 32U, 33U, 63U, 64U, 65U, 200U, 1000U, 8192U}) {
      SCOPED_TRACE(testing::Message() << distinct << " symbols, " << count);
      const Symbols symbols = SkewedSymbols(count, distinct, count + distinct);
      const Coded want = EncodeWith(kScalarKernels, symbols);
      const Coded got = EncodeWith(kernels(), symbols);
      ASSERT_EQ(want.bytes, got.bytes);
      Symbols decoded(count + 64, 0xEE);
      const RansBlock block = want.Block(decoded.data());
      ASSERT_TRUE(kernels().rans_decode(&block, 1));
      ASSERT_TRUE(std::equal(symbols.begin(), symbols.end(), decoded.begin()));
      ASSERT_EQ(
          std::count(decoded.begin() + static_cast<std::ptrdiff_t>(count), decoded.end(), 0xEE),
          64);
    }
  }
}

TEST_P(EachKernels, WhatLiesBehindABlockChangesNothing) {
  // Memory to read behind the block is what lets vector code run to the block's very end.
  for (const std::size_t count : {32U, 33U, 512U, 8192U}) {
    const Symbols symbols = SkewedSymbols(count, 17, count);
    const Coded coded = EncodeWith(kernels(), symbols);
    for (const std::byte behind : {std::byte{0}, std::byte{0xFF}}) {
      std::vector<std::byte> memory = coded.bytes;
      memory.resize(memory.size() + 4096, behind);
      Symbols decoded(count);
      RansBlock block = coded.Block(decoded.data());
      block.states = memory.data();
      block.end = memory.data() + coded.bytes.size();
      block.readable_end = memory.data() + memory.size();
      ASSERT_TRUE(kernels().rans_decode(&block, 1)) << count;
      ASSERT_EQ(symbols, decoded) << count;
      block.end -= 2;
      ASSERT_FALSE(kernels().rans_decode(&block, 1)) << count << ", a word taken from behind";
    }
  }
}

TEST_P(EachKernels, EveryFrequencyCodes) {
  // Two symbols, one of frequency f: the division of the encoder for every divisor there is. Pairs
  // that lie close together, apart, too far apart for a compact table, and across a multiple of 64.
  constexpr std::uint8_t kPairs[][2] = {{20, 30}, {3, 60}, {100, 200}, {60, 70}};
  for (const auto& [rare, common] : kPairs) {
    for (unsigned f = 1; f < 256; ++f) {
      Symbols symbols(2048);
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        symbols[i] = (i * 37 % 256) < f ? common : rare;
      }
      const Coded want = EncodeWith(kScalarKernels, symbols);
      const Coded got = EncodeWith(kernels(), symbols);
      ASSERT_EQ(want.bytes, got.bytes) << f;
      Symbols decoded(symbols.size());
      const RansBlock block = got.Block(decoded.data());
      ASSERT_TRUE(kernels().rans_decode(&block, 1));
      ASSERT_EQ(symbols, decoded) << f;
    }
  }
}

TEST_P(EachKernels, BlocksOfDifferentTablesAndLengthsDecodeTogether) {
  std::vector<Symbols> symbols;
  std::vector<Coded> coded;
  for (const std::size_t count : {8192U, 8160U, 100U, 8192U, 31U, 4096U, 4128U, 64U, 5U}) {
    symbols.push_back(SkewedSymbols(count, 5 + static_cast<unsigned>(count) % 20, count));
    coded.push_back(EncodeWith(kernels(), symbols.back()));
  }
  // Two neighbours that share one table, as blocks of a strip do.
  symbols.push_back(symbols.back());
  coded.push_back(coded.back());
  std::vector<Symbols> decoded;
  for (const Symbols& s : symbols) decoded.emplace_back(s.size());
  std::vector<RansBlock> blocks;
  for (std::size_t i = 0; i < coded.size(); ++i) {
    blocks.push_back(coded[i].Block(decoded[i].data()));
  }
  blocks.back().table = blocks[blocks.size() - 2].table;
  ASSERT_TRUE(kernels().rans_decode(blocks.data(), blocks.size()));
  EXPECT_EQ(symbols, decoded);
}

// The states' return to the start catches most damage but not all: where two symbols are equally
// frequent, a flipped bit may exchange one for the other. Tables must agree on which is which.
TEST_P(EachKernels, DamagedBlocksAreJudgedAsScalarJudgesThem) {
  const Symbols symbols = SkewedSymbols(700, 17, 9);
  const Coded good = EncodeWith(kScalarKernels, symbols);
  Symbols want(symbols.size());
  Symbols got(symbols.size());
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < 8 * good.bytes.size(); ++bit) {
    Coded broken = good;
    broken.bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const RansBlock want_block = broken.Block(want.data());
    const RansBlock got_block = broken.Block(got.data());
    const bool accepted = kScalarKernels.rans_decode(&want_block, 1);
    ASSERT_EQ(kernels().rans_decode(&got_block, 1), accepted) << bit;
    if (accepted) {
      ASSERT_EQ(want, got) << bit;
      ASSERT_NE(want, symbols) << bit;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 8 * good.bytes.size() / 2);
}

TEST_P(EachKernels, MissingWordsAreRefused) {
  const Symbols symbols = SkewedSymbols(700, 17, 9);
  const Coded good = EncodeWith(kScalarKernels, symbols);
  Symbols decoded(symbols.size());
  for (std::size_t words = 0; words < (good.bytes.size() - kRansStateBytes) / 2; ++words) {
    RansBlock block = good.Block(decoded.data());
    block.end = block.states + kRansStateBytes + 2 * words;
    ASSERT_FALSE(kernels().rans_decode(&block, 1)) << words << " words";
  }
}

TEST_P(EachKernels, AWordTooManyIsRefused) {
  const Symbols symbols = SkewedSymbols(700, 17, 9);
  Coded coded = EncodeWith(kernels(), symbols);
  coded.bytes.resize(coded.bytes.size() + 2);
  Symbols decoded(symbols.size());
  const RansBlock block = coded.Block(decoded.data());
  EXPECT_FALSE(kernels().rans_decode(&block, 1));
}

INSTANTIATE_TEST_SUITE_P(All, EachKernels, testing::ValuesIn(SupportedKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

TEST(SelectKernels, UnknownNameIsAnErrorNotAFallback) {
  EXPECT_EQ(SelectKernels("avx-1024").error().code(), Code::kNotFound);
  EXPECT_EQ((*SelectKernels("scalar"))->name, "scalar");
  EXPECT_EQ(*SelectKernels(""), SupportedKernels().back());
}

}  // namespace
}  // namespace kdn::codec
