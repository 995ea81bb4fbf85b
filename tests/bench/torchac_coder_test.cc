// Goal: the coder that ours is measured against is a real one: it gives back what it was given, in
// about as many bits as the symbols' entropy. Method: symbols of every skew and count, and whole
// planes, through encoder and decoder.
#include "tests/bench/torchac_coder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace kdn::bench {
namespace {

std::vector<std::uint8_t> Symbols(std::size_t count, double deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(15.0, deviation);
  std::vector<std::uint8_t> symbols(count);
  for (std::uint8_t& s : symbols) {
    s = static_cast<std::uint8_t>(std::clamp(std::lround(normal(random)), 0L, 31L));
  }
  return symbols;
}

double EntropyBits(const std::vector<std::uint8_t>& symbols) {
  std::array<double, 256> count{};
  for (const std::uint8_t s : symbols) count[s] += 1.0;
  double bits = 0.0;
  for (const double c : count) {
    if (c > 0.0) bits -= c * std::log2(c / static_cast<double>(symbols.size()));
  }
  return bits;
}

TEST(TorchacCoder, SymbolsComeBackForEverySkewAndCount) {
  for (const double deviation : {0.0, 0.1, 1.0, 4.0, 40.0}) {
    for (const std::size_t count : {1U, 2U, 7U, 256U, 5000U}) {
      const auto symbols = Symbols(count, deviation, static_cast<unsigned>(count));
      TorchacTable table;
      TorchacFillTable(symbols, table);
      std::vector<std::byte> code;
      TorchacEncode(table, symbols, code);
      std::vector<std::uint8_t> decoded(count);
      TorchacDecode(table, code, decoded);
      ASSERT_EQ(decoded, symbols) << deviation << ", " << count;
    }
  }
}

TEST(TorchacCoder, CodesTakeTheEntropyAndTwoBytes) {
  for (const double deviation : {0.3, 1.0, 4.0}) {
    const auto symbols = Symbols(4096, deviation, 5);
    TorchacTable table;
    TorchacFillTable(symbols, table);
    std::vector<std::byte> code;
    TorchacEncode(table, symbols, code);
    EXPECT_LT(static_cast<double>(code.size()), EntropyBits(symbols) / 8.0 * 1.002 + 2.0);
    EXPECT_GT(static_cast<double>(code.size()), EntropyBits(symbols) / 8.0 * 0.999);
  }
}

TEST(TorchacCoder, PlanesComeBackWithinHalfABin) {
  constexpr std::size_t kTokens = 100;
  constexpr std::size_t kChannels = 64;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(kTokens * kChannels);
  for (float& x : values) x = normal(random);
  for (std::size_t c = 0; c < kChannels; ++c) values[7 * kChannels + c] = 0.0F;
  for (const unsigned bins : {32U, 16U, 12U}) {
    std::vector<std::uint8_t> symbols;
    TorchacPlane plane;
    TorchacEncodePlane(values, kTokens, kChannels, bins, symbols, plane);
    std::vector<float> decoded(values.size());
    TorchacDecodePlane(plane, decoded);
    const float half_bin = 0.5F / static_cast<float>(bins / 2 - 1);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(decoded[i], values[i], plane.scales[i / kChannels] * half_bin * 1.001F) << i;
    }
    EXPECT_EQ(plane.SizeBytes(),
              plane.code.size() + kChannels * (2 * kTorchacTableEntries + 4) + 2 * kTokens);
  }
}

}  // namespace
}  // namespace kdn::bench
