// Goal: tiles of the lossy levels decode to what their encoder meant, each level closer than the
// one before, with and without a profile; and any bytes give an answer. Method: synthetic strips
// whose statistics are known, through EncodeNested and NestedDecoder and the kernels; errors
// against the width of a bin. Damage: every byte of small tiles changed in turn, every length cut.
#include "codec/nested.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/kernels/kernels.h"
#include "codec/kernels/select.h"

namespace kdn::codec {
namespace {

TileShape Shape(std::uint32_t tokens, std::uint32_t head_size, std::uint32_t heads = 2) {
  return {
      .dtype = DType::kFp32, .layers = 1, .heads = heads, .tokens = tokens, .head_size = head_size};
}

// Gaussian channels with means and spreads of their own, [strip][token][channel].
std::vector<float> Gaussian(const TileShape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(shape.values());
  std::vector<float> mean(shape.head_size);
  std::vector<float> spread(shape.head_size);
  for (std::size_t c = 0; c < shape.head_size; ++c) {
    mean[c] = 5.0F * normal(random);
    spread[c] = std::exp2(normal(random));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t c = i % shape.head_size;
    values[i] = mean[c] + spread[c] * normal(random);
  }
  return values;
}

using Tiles = std::array<std::vector<std::byte>, kLossyLevels>;

Tiles EncodeAlone(const TileShape& shape, const std::vector<float>& values) {
  OwnCodings own;
  MeasureCodings(shape, values, own);
  Tiles tiles;
  NestedScratch scratch;
  EncodeNested(shape, values, CodingsOf(own), /*inline_codings=*/true, kLossyLevels, kScalarKernels,
               tiles, scratch);
  return tiles;
}

// The strips at the level of the last tile; empty if something does not decode.
std::vector<float> Decode(const Kernels& kernels, const TileShape& shape,
                          std::span<const ConstBytes> tiles) {
  NestedScratch scratch;
  NestedDecoder decoder(kernels, shape, {}, scratch);
  for (const ConstBytes tile : tiles) {
    if (!decoder.Open(tile)) return {};
  }
  std::vector<float> values(shape.values());
  std::vector<std::int8_t> codes(shape.strip_values());
  std::vector<std::ptrdiff_t> row_offsets;
  for (std::size_t t = 0; t < shape.tokens; ++t) {
    row_offsets.push_back(static_cast<std::ptrdiff_t>(4 * t * shape.head_size));
  }
  if (!decoder.DecodeSymbols(std::vector<std::uint8_t>(shape.strips(), 1))) return {};
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    decoder.FillCodes(s, 0, shape.tokens, codes.data());
    const StripProfile& strip = decoder.ProfileOf(s);
    Synthesis synthesis;
    synthesis.channels = shape.head_size;
    synthesis.mean = strip.mean.data();
    synthesis.scale = strip.scale.data();
    const CodeRows rows{.codes = codes.data(),
                        .stride = shape.head_size,
                        .exponents = decoder.Exponents(s),
                        .tokens = shape.tokens};
    kernels.synthesise[static_cast<std::size_t>(DType::kFp32)](
        synthesis, rows, reinterpret_cast<std::byte*>(values.data() + s * shape.strip_values()),
        row_offsets.data());
  }
  return values;
}

double RelativeError(const TileShape& shape, const std::vector<float>& want,
                     const std::vector<float>& got) {
  double error = 0.0;
  double power = 0.0;
  std::vector<double> mean(shape.head_size);
  for (std::size_t i = 0; i < want.size(); ++i) mean[i % shape.head_size] += double{want[i]};
  for (double& m : mean) m /= static_cast<double>(want.size() / shape.head_size);
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += std::pow(double{want[i]} - double{got[i]}, 2);
    power += std::pow(double{want[i]} - mean[i % shape.head_size], 2);
  }
  return std::sqrt(error / power);
}

TEST(Nested, EachLevelHalvesTheError) {
  for (const std::uint32_t head_size : {32U, 64U, 80U, 128U, 256U}) {
    for (const std::uint32_t tokens : {1U, 3U, 255U, 256U, 300U}) {
      const TileShape shape = Shape(tokens, head_size);
      const std::vector<float> values = Gaussian(shape, head_size + tokens);
      const Tiles tiles = EncodeAlone(shape, values);
      const std::array<ConstBytes, 3> views = {tiles[0], tiles[1], tiles[2]};
      // A bin of one standard deviation at draft: its uniform error is 0.29 of it.
      double bound = 0.31;
      for (std::size_t levels = 1; levels <= kLossyLevels; ++levels, bound /= 1.9) {
        const auto got = Decode(kScalarKernels, shape, std::span(views).first(levels));
        ASSERT_EQ(got.size(), values.size());
        if (tokens < 100) continue;  // too few to measure a spread by
        EXPECT_LT(RelativeError(shape, values, got), bound)
            << head_size << " channels, " << tokens << " tokens, " << levels << " levels";
      }
    }
  }
}

TEST(Nested, SizesAreTheEntropysAndABitALevel) {
  const TileShape shape = Shape(256, 128);
  const Tiles tiles = EncodeAlone(shape, Gaussian(shape, 7));
  const auto bits = [&](std::size_t level) {
    return 8.0 * static_cast<double>(tiles[level].size()) / static_cast<double>(shape.values());
  };
  // Entropy of bins of 0.625 deviations (2.73) under 8-bit probabilities, states, means and scales.
  EXPECT_LT(bits(0), 2.73 * 1.02 + 0.125 + 0.125);
  EXPECT_NEAR(bits(1), 1.0, 0.01);
  EXPECT_NEAR(bits(2), 1.0, 0.01);
}

// A segment has no tile of no bytes.
TEST(Nested, ATileBeforeAnyClassHasBegunIsZeros) {
  const TileShape shape = Shape(64, 32);
  const std::vector<float> values = Gaussian(shape, 5);
  OwnCodings own;
  MeasureCodings(shape, values, own);
  for (StripProfile& strip : own.strips) strip.classes[0].start = 2;
  const std::vector<StripCoding> codings = CodingsOf(own);
  Tiles tiles;
  NestedScratch scratch;
  EncodeNested(shape, values, codings, /*inline_codings=*/false, kLossyLevels, kScalarKernels,
               tiles, scratch);
  EXPECT_EQ(tiles[1], std::vector<std::byte>(16));
  const auto opens = [&] {
    NestedScratch decoding;
    NestedDecoder decoder(kScalarKernels, shape, codings, decoding);
    return decoder.Open(tiles[0]) && decoder.Open(tiles[1]) && decoder.Open(tiles[2]) &&
           decoder.DecodeSymbols(std::vector<std::uint8_t>(shape.strips(), 1));
  };
  EXPECT_TRUE(opens());
  tiles[1][7] = std::byte{1};
  EXPECT_FALSE(opens());
  tiles[1].clear();
  EXPECT_FALSE(opens());
}

TEST(Nested, TokensFarOutsideKeepTheirRelativePrecision) {
  const TileShape shape = Shape(256, 64, 1);
  std::vector<float> values = Gaussian(shape, 3);
  for (std::size_t c = 0; c < 64; ++c) values[17 * 64 + c] *= 300.0F;
  const Tiles tiles = EncodeAlone(shape, values);
  const std::array<ConstBytes, 3> views = {tiles[0], tiles[1], tiles[2]};
  const auto got = Decode(kScalarKernels, shape, views);
  ASSERT_EQ(got.size(), values.size());
  double error = 0.0;
  double power = 0.0;
  for (std::size_t c = 0; c < 64; ++c) {
    error += std::pow(double{values[17 * 64 + c]} - double{got[17 * 64 + c]}, 2);
    power += std::pow(double{values[17 * 64 + c]}, 2);
  }
  EXPECT_LT(std::sqrt(error / power), 0.1);
}

TEST(Nested, AnyBytesGiveAnAnswer) {
  const TileShape shape = Shape(5, 32);
  const std::vector<float> values = Gaussian(shape, 11);
  const Tiles good = EncodeAlone(shape, values);
  for (std::size_t level = 0; level < kLossyLevels; ++level) {
    for (std::size_t i = 0; i < good[level].size(); ++i) {
      for (const unsigned flip : {1U, 0x80U, 0xFFU}) {
        Tiles bad = good;
        bad[level][i] ^= static_cast<std::byte>(flip);
        const std::array<ConstBytes, 3> views = {bad[0], bad[1], bad[2]};
        for (const Kernels* kernels : SupportedKernels()) (void)Decode(*kernels, shape, views);
      }
      Tiles cut = good;
      cut[level].resize(i);
      const std::array<ConstBytes, 3> views = {cut[0], cut[1], cut[2]};
      EXPECT_TRUE(Decode(kScalarKernels, shape, views).empty()) << level << " cut at " << i;
    }
  }
}

TEST(Nested, EveryKernelTableGivesTheSameBits) {
  for (const std::uint32_t head_size : {32U, 48U, 64U, 128U, 192U}) {
    for (const std::uint32_t tokens : {1U, 7U, 64U, 257U}) {
      const TileShape shape = Shape(tokens, head_size);
      const Tiles tiles = EncodeAlone(shape, Gaussian(shape, head_size * tokens));
      const std::array<ConstBytes, 3> views = {tiles[0], tiles[1], tiles[2]};
      for (std::size_t levels = 1; levels <= kLossyLevels; ++levels) {
        const auto want = Decode(kScalarKernels, shape, std::span(views).first(levels));
        for (const Kernels* kernels : SupportedKernels()) {
          EXPECT_EQ(Decode(*kernels, shape, std::span(views).first(levels)), want)
              << kernels->name << ", " << head_size << " channels, " << tokens << " tokens";
        }
      }
    }
  }
}

TEST(Nested, EveryKernelTableWritesTheSameTiles) {
  for (const std::uint32_t head_size : {32U, 48U, 128U, 192U}) {
    for (const std::uint32_t tokens : {1U, 7U, 257U}) {
      const TileShape shape = Shape(tokens, head_size);
      std::vector<float> values = Gaussian(shape, head_size + tokens);
      for (std::size_t c = 0; c < head_size; ++c) values[c] *= 1000.0F;  // a token far outside
      const Tiles want = EncodeAlone(shape, values);
      OwnCodings own;
      MeasureCodings(shape, values, own);
      for (const Kernels* kernels : SupportedKernels()) {
        Tiles got;
        NestedScratch scratch;
        EncodeNested(shape, values, CodingsOf(own), true, kLossyLevels, *kernels, got, scratch);
        EXPECT_EQ(got, want) << kernels->name << ", " << head_size << " channels, " << tokens;
      }
    }
  }
}

}  // namespace
}  // namespace kdn::codec
