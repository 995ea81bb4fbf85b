// Goal: a tile of any values comes back bit for bit, is as small as its planes allow, and no
// damaged tile does harm.
#include "codec/byte_planes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/random.h"
#include "codec/kernels/select.h"
#include "tests/codec/tile.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kNoBound = 4 << 20;

const Kernels& Best() {
  return *SelectKernels("").value();
}

TileShape Shape(DType dtype, std::uint32_t strips, std::uint32_t tokens, std::uint32_t head_size) {
  return {.dtype = dtype, .layers = 1, .heads = strips, .tokens = tokens, .head_size = head_size};
}

Bytes Values(const TileShape& shape, Pattern pattern, std::uint64_t seed = 1) {
  return MakeValues(shape.dtype, pattern, shape.values(), seed);
}

double Ratio(const TileShape& shape, const Bytes& tile) {
  return static_cast<double>(shape.raw_bytes()) / static_cast<double>(tile.size());
}

TEST(BytePlanes, EveryPatternOfEveryTypeComesBackFromEveryKernelTable) {
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + PatternName(pattern));
      const TileShape shape = Shape(dtype, 3, 83, 48);
      const Bytes values = Values(shape, pattern);
      const Bytes scalar = EncodeValues(kScalarKernels, shape, values, kNoBound);
      ASSERT_FALSE(scalar.empty());
      for (const Kernels* kernels : SupportedKernels()) {
        ASSERT_EQ(scalar, EncodeValues(*kernels, shape, values, kNoBound)) << kernels->name;
        ASSERT_EQ(DecodeValues(*kernels, shape, scalar), values) << kernels->name;
      }
    }
  }
}

TEST(BytePlanes, EverySixteenBitPatternComesBack) {
  for (const DType dtype : {DType::kBf16, DType::kFp16}) {
    const TileShape shape = Shape(dtype, 1, 1024, 64);
    const Bytes values = Values(shape, Pattern::kEveryBits);
    EXPECT_EQ(DecodeValues(Best(), shape, EncodeValues(Best(), shape, values, kNoBound)), values);
  }
}

TEST(BytePlanes, EveryStripLengthComesBack) {
  for (const std::uint32_t head_size : {16U, 48U, 80U}) {
    for (std::uint32_t tokens = 1; tokens < 420; tokens = tokens * 5 / 4 + 1) {
      const TileShape shape = Shape(DType::kBf16, 2, tokens, head_size);
      const Bytes values = Values(shape, Pattern::kGaussian, tokens);
      ASSERT_EQ(DecodeValues(Best(), shape, EncodeValues(Best(), shape, values, kNoBound)), values)
          << tokens << " tokens of " << head_size;
    }
  }
}

TEST(BytePlanes, GaussianValuesShrinkAsTheirExponentsAllow) {
  struct Case {
    DType dtype;
    double ratio;
  };
  for (const Case& c :
       {Case{DType::kBf16, 1.47}, Case{DType::kFp16, 1.15}, Case{DType::kFp32, 1.19},
        Case{DType::kFp8E4M3, 1.15}, Case{DType::kFp8E5M2, 1.35}}) {
    const TileShape shape = Shape(c.dtype, 4, 256, 64);
    const Bytes tile = EncodeValues(Best(), shape, Values(shape, Pattern::kGaussian), kNoBound);
    EXPECT_GE(Ratio(shape, tile), c.ratio) << DTypeName(c.dtype);
  }
}

TEST(BytePlanes, Fp32WidenedFromBf16CostsWhatBf16Costs) {
  const TileShape narrow = Shape(DType::kBf16, 2, 256, 64);
  const TileShape wide = Shape(DType::kFp32, 2, 256, 64);
  const Bytes values = Values(narrow, Pattern::kGaussian);
  Bytes widened(wide.raw_bytes());
  for (std::size_t i = 0; i < narrow.values(); ++i) {
    std::memcpy(&widened[4 * i + 2], &values[2 * i], 2);
  }
  const Bytes small = EncodeValues(Best(), narrow, values, kNoBound);
  const Bytes large = EncodeValues(Best(), wide, widened, kNoBound);
  EXPECT_LE(large.size(), small.size() + 32);
  EXPECT_EQ(DecodeValues(Best(), wide, large), widened);
}

TEST(BytePlanes, AConstantTileIsTiny) {
  for (const DType dtype : kAllDTypes) {
    const TileShape shape = Shape(dtype, 2, 256, 64);
    const Bytes tile = EncodeValues(Best(), shape, Values(shape, Pattern::kConstant), kNoBound);
    EXPECT_LE(tile.size(), 32U) << DTypeName(dtype);
  }
}

// Of a long run samples decide whether it is worth counting: they are from all over it.
TEST(BytePlanes, OfLongRunsNoiseIsLeftAndWhatStandsAmongItIsFound) {
  const TileShape shape = Shape(DType::kFp8E4M3, 1, 1024, 128);
  Bytes values(shape.raw_bytes());
  SeededRandom(7).Fill(values);
  EXPECT_TRUE(EncodeValues(Best(), shape, values, shape.raw_bytes() - 1).empty());
  const std::size_t part = values.size() / 8;
  for (std::size_t begin = 0; begin + part <= values.size(); begin += part / 2) {
    Bytes mixed = values;
    std::fill_n(mixed.begin() + static_cast<std::ptrdiff_t>(begin), part, std::byte{0});
    const Bytes tile = EncodeValues(Best(), shape, mixed, shape.raw_bytes() - 1);
    ASSERT_FALSE(tile.empty()) << begin;
    EXPECT_EQ(DecodeValues(Best(), shape, tile), mixed);
  }
}

TEST(BytePlanes, ATileThatDoesNotFitIsNotWritten) {
  const TileShape shape = Shape(DType::kBf16, 2, 64, 64);
  const Bytes values = Values(shape, Pattern::kGaussian);
  const std::size_t size = EncodeValues(Best(), shape, values, kNoBound).size();
  EXPECT_EQ(EncodeValues(Best(), shape, values, size).size(), size);
  for (std::size_t bound = size % 53; bound < size; bound += 53) {
    ASSERT_TRUE(EncodeValues(Best(), shape, values, bound).empty()) << bound;
  }
  EXPECT_TRUE(EncodeValues(Best(), shape, values, size - 1).empty());
}

TEST(BytePlanes, ShortStripsShareATable) {
  // 64 strips of 512 values: with a table each, tables alone would cost 0.5 bits a value.
  const TileShape shape = Shape(DType::kBf16, 64, 8, 64);
  const Bytes tile = EncodeValues(Best(), shape, Values(shape, Pattern::kGaussian), kNoBound);
  EXPECT_EQ(tile[0], std::byte{1});
}

TEST(BytePlanes, StripsOfDifferentScaleHaveTablesOfTheirOwn) {
  const TileShape shape = Shape(DType::kBf16, 2, 256, 64);
  Bytes values = Values(shape, Pattern::kGaussian);
  for (std::size_t i = 0; i < shape.strip_bytes(); i += 2) {
    // Eight powers of two up.
    values[i + 1] = static_cast<std::byte>(static_cast<unsigned>(values[i + 1]) + 4);
  }
  const Bytes tile = EncodeValues(Best(), shape, values, kNoBound);
  EXPECT_EQ(tile[0], std::byte{0});
  EXPECT_GE(Ratio(shape, tile), 1.47);
}

TEST(BytePlanes, UnwantedStripsAreLeftAlone) {
  const TileShape shape = Shape(DType::kBf16, 4, 64, 64);
  const Bytes values = Values(shape, Pattern::kGaussian);
  const Bytes tile = EncodeValues(Best(), shape, values, kNoBound);
  Bytes memory;
  Scratch scratch(memory, DecodePlanesRoom(shape));
  const std::vector<std::uint8_t> wanted = {0, 1, 0, 0};
  std::vector<ConstPlanePointers> strips(4);
  ASSERT_TRUE(DecodeBytePlanes(Best(), shape, tile, wanted, shape.tokens, scratch, strips));
  EXPECT_EQ(strips[0][0], nullptr);
  EXPECT_EQ(strips[3][0], nullptr);
  Bytes strip(shape.strip_bytes());
  Best().merge[0](strips[1].data(), 1, shape.strip_values(), strip.data(), 0);
  EXPECT_TRUE(std::equal(strip.begin(), strip.end(),
                         values.begin() + static_cast<std::ptrdiff_t>(shape.strip_bytes())));
}

// A run of one value takes two bytes, whatever the header says of its length.
TEST(BytePlanes, OfConstantsNoMoreIsSetThanIsWanted) {
  const TileShape shape = Shape(DType::kBf16, 2, 4096, 64);
  const Bytes tile = EncodeValues(Best(), shape, Bytes(shape.raw_bytes()), kNoBound);
  EXPECT_LE(tile.size(), 32U);
  for (const std::size_t tokens : {1U, 4096U}) {
    Bytes memory(DecodePlanesRoom(shape) + Scratch::kAlignment, std::byte{0xAB});
    Scratch scratch(memory, DecodePlanesRoom(shape));
    std::vector<ConstPlanePointers> strips(2);
    const std::vector<std::uint8_t> wanted = {1, 1};
    ASSERT_TRUE(DecodeBytePlanes(Best(), shape, tile, wanted, tokens, scratch, strips));
    std::size_t set = 0;
    for (const ConstPlanePointers& strip : strips) {
      for (std::size_t p = 0; p < 2; ++p) {
        set += static_cast<std::size_t>(
            std::count(strip[p], strip[p] + shape.strip_values(), std::uint8_t{0}));
      }
    }
    EXPECT_EQ(set, 2 * 2 * tokens * 64);
  }
}

class DamagedTile : public testing::TestWithParam<const Kernels*> {};

TEST_P(DamagedTile, AnyFlippedBitGivesAnErrorOrOtherValues) {
  const TileShape shape = Shape(DType::kFp8E4M3, 2, 20, 32);
  Bytes values = Values(shape, Pattern::kZeroHeavy);
  const Bytes tile = EncodeValues(*GetParam(), shape, values, kNoBound);
  std::size_t accepted = 0;
  for (std::size_t bit = 0; bit < 8 * tile.size(); ++bit) {
    Bytes broken = tile;
    broken[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    if (const auto decoded = DecodeValues(*GetParam(), shape, broken)) {
      // Without a checksum a flip in raw bits passes, as other values.
      EXPECT_NE(*decoded, values) << bit;
      ++accepted;
    }
  }
  EXPECT_LT(accepted, 8 * tile.size());
}

TEST_P(DamagedTile, AnyTruncationOrExtensionIsRefused) {
  const TileShape shape = Shape(DType::kBf16, 2, 64, 32);
  const Bytes tile = EncodeValues(*GetParam(), shape, Values(shape, Pattern::kGaussian), kNoBound);
  for (std::size_t size = 0; size < tile.size(); ++size) {
    const Bytes cut(tile.begin(), tile.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_FALSE(DecodeValues(*GetParam(), shape, cut)) << size;
  }
  for (const std::size_t extra : {1U, 15U, 16U, 128U}) {
    Bytes longer = tile;
    longer.resize(tile.size() + extra);
    ASSERT_FALSE(DecodeValues(*GetParam(), shape, longer)) << extra;
  }
}

TEST_P(DamagedTile, ATileOfAnotherShapeIsRefused) {
  const TileShape shape = Shape(DType::kBf16, 2, 64, 32);
  const Bytes tile = EncodeValues(*GetParam(), shape, Values(shape, Pattern::kGaussian), kNoBound);
  for (const TileShape& other : {Shape(DType::kBf16, 1, 64, 32), Shape(DType::kBf16, 3, 64, 32),
                                 Shape(DType::kBf16, 2, 63, 32), Shape(DType::kBf16, 2, 4096, 32),
                                 Shape(DType::kFp16, 2, 64, 32), Shape(DType::kFp32, 2, 64, 32)}) {
    EXPECT_FALSE(DecodeValues(*GetParam(), other, tile));
  }
}

TEST_P(DamagedTile, NoiseIsRefused) {
  const TileShape shape = Shape(DType::kFp16, 3, 40, 32);
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Bytes noise = MakeValues(DType::kFp8E4M3, Pattern::kRandomBits, 16 * (seed % 40), seed);
    ASSERT_FALSE(DecodeValues(*GetParam(), shape, noise)) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DamagedTile, testing::ValuesIn(SupportedKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

}  // namespace
}  // namespace kdn::codec
