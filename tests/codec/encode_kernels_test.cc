// Goal: every table of encoding kernels computes exactly what the scalar one computes, so that an
// object does not depend on the machine that stored it. Method: random and hostile tensors (NaN,
// infinities, denormals, zeros, tokens far outside, one token, partial chunks) through each kernel
// that this CPU supports; bytes are compared.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/float_bits.h"
#include "codec/kernels/select.h"
#include "codec/plane_layout.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

class EachEncode : public testing::TestWithParam<const Kernels*> {
 protected:
  const EncodeKernels& kernels() const { return *GetParam()->encode; }
};

constexpr std::size_t kChannelCounts[] = {16, 32, 48, 80, 128, 144, 256};
constexpr std::size_t kTokenCounts[] = {1, 3, 4, 33, 256};

std::vector<float> Floats(Pattern pattern, std::size_t count, std::uint64_t seed) {
  const auto words = MakeValues(DType::kBf16, pattern, count, seed);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t word = 0;
    std::memcpy(&word, words.data() + 2 * i, 2);
    const float x = Bf16Number::ToFloat(word);
    values[i] = std::fabs(x) <= kFiniteMax ? x : 0.0F;
  }
  return values;
}

TEST_P(EachEncode, ReadsWhatScalarReads) {
  for (const DType dtype : kAllDTypes) {
    const auto type = static_cast<std::size_t>(dtype);
    for (const Pattern pattern : {Pattern::kRandomBits, Pattern::kGaussian, Pattern::kSpecials}) {
      for (const std::size_t channels : kChannelCounts) {
        for (const RotaryPairs pairs :
             {RotaryPairs::kNone, RotaryPairs::kHalves, RotaryPairs::kNeighbours}) {
          for (const std::size_t dims : {channels, channels / 2}) {
            const Reading reading{.channels = channels, .pairs = pairs, .rotary_dims = dims};
            constexpr std::size_t kTokens = 5;
            const std::size_t row = channels * DTypeBytes(dtype);
            const auto values = MakeValues(dtype, pattern, 2 * kTokens * channels, channels);
            const auto turns = Floats(Pattern::kGaussian, kTokens * dims, 3);
            std::vector<float> want(kTokens * channels);
            std::vector<float> got(kTokens * channels + 16, 77.0F);
            const auto stride = static_cast<std::ptrdiff_t>(row + row / 2);
            kScalarEncode.read[type](reading, values.data(), stride, turns.data(), kTokens,
                                     want.data());
            kernels().read[type](reading, values.data(), stride, turns.data(), kTokens, got.data());
            ASSERT_EQ(std::memcmp(want.data(), got.data(), 4 * want.size()), 0)
                << DTypeName(dtype) << PatternName(pattern) << channels << " of " << dims;
            ASSERT_EQ(std::count(got.begin() + static_cast<std::ptrdiff_t>(want.size()), got.end(),
                                 77.0F),
                      16);
          }
        }
      }
    }
  }
}

TEST(ScalarEncode, ReadsNothingThatIsNotFinite) {
  const auto values = MakeValues(DType::kBf16, Pattern::kEveryBits, 65536, 1);
  std::vector<float> got(65536);
  kScalarEncode.read[0]({.channels = 256}, values.data(), 512, nullptr, 256, got.data());
  for (const float x : got) ASSERT_TRUE(std::fabs(x) <= kFiniteMax);
  EXPECT_GT(*std::max_element(got.begin(), got.end()), 0.99e17F);
}

TEST_P(EachEncode, MeasuresAndCountsWhatScalarDoes) {
  for (const Pattern pattern : kAllPatterns) {
    for (const std::size_t channels : kChannelCounts) {
      for (const std::size_t tokens : kTokenCounts) {
        const auto values = Floats(pattern, tokens * channels, channels + tokens);
        std::vector<float> mean(channels), scale(channels), got_mean(channels), got_scale(channels);
        kScalarEncode.measure(values.data(), tokens, channels, mean.data(), scale.data());
        kernels().measure(values.data(), tokens, channels, got_mean.data(), got_scale.data());
        ASSERT_EQ(mean, got_mean) << PatternName(pattern) << channels << ", " << tokens;
        ASSERT_EQ(scale, got_scale) << PatternName(pattern) << channels << ", " << tokens;
        std::vector<std::uint32_t> want(15, 1);
        std::vector<std::uint32_t> got(15, 1);
        kScalarEncode.count_bins(values.data(), tokens, channels, mean.data(), scale.data(),
                                 want.data());
        kernels().count_bins(values.data(), tokens, channels, mean.data(), scale.data(),
                             got.data());
        ASSERT_EQ(want, got) << PatternName(pattern) << channels << ", " << tokens;
      }
    }
  }
}

// Classes, a transform and an order for some channels.
struct Coding {
  Coding(std::size_t channel_count, std::size_t block_size, bool ordered, unsigned seed)
      : channels(channel_count), block(block_size), random(seed) {
    std::normal_distribution<float> normal;
    for (std::size_t c = 0; c < channels; ++c) {
      mean.push_back(normal(random));
      order.push_back(static_cast<std::uint16_t>(c));
    }
    if (ordered) std::shuffle(order.begin(), order.end(), random);
    inverse.resize(channels * block);
    const float unit = block == 1 ? 8.0F : 8.0F / std::sqrt(static_cast<float>(block));
    for (float& x : inverse) x = unit * normal(random);
    const bool is_ordered = ordered;
    analysis = {.channels = channels,
                .block = block,
                .inverse = inverse.data(),
                .columns = inverse.data(),
                .mean = mean.data(),
                .order = is_ordered ? order.data() : nullptr};
  }

  // One class, or as many of width 16 as there are, some of them not coded.
  void Divide(bool one_class, unsigned planes_max) {
    const std::size_t width = one_class ? channels : 16;
    luts.resize(channels / width);
    for (std::size_t first = 0; first < channels; first += width) {
      ClassQuantiser& one = classes.emplace_back();
      one.width = width;
      one.coded = one_class || random() % 5 != 0;
      one.planes = one_class ? 2 : static_cast<unsigned>(random() % (planes_max + 1));
      const int reach = one_class ? 7 : static_cast<int>(random() % 31) + 1;
      one.first_symbol = 32 - reach;
      one.last_symbol = 32 + (reach + 1) / 2;
      one.clip = 2.5F * static_cast<float>((reach + 1) << one.planes);
      auto& lut = luts[first / width];
      for (std::int8_t& code : lut) code = static_cast<std::int8_t>(random());
      one.codes = lut.data();
    }
    analysis.classes = classes.data();
    analysis.class_count = classes.size();
  }

  struct Result {
    std::vector<std::uint8_t> symbols;  // and rest
    std::vector<std::uint8_t> exponents;
    std::vector<std::int8_t> codes;
    bool operator==(const Result&) const = default;
  };
  Result Run(const EncodeKernels& kernels, const std::vector<float>& values, std::size_t tokens) {
    Result result;
    result.symbols.assign(2 * values.size(), 0xEE);
    result.exponents.assign(tokens, 0xEE);
    result.codes.assign(values.size(), 0x6E);
    std::size_t at = 0;
    for (ClassQuantiser& one : classes) {
      one.symbols = result.symbols.data() + at;
      one.rest = result.symbols.data() + values.size() + at;
      at += one.width * tokens;
    }
    kernels.quantise(analysis, values.data(), tokens, result.exponents.data(), result.codes.data());
    return result;
  }

  std::size_t channels;
  std::size_t block;
  std::mt19937 random;
  std::vector<float> mean;
  std::vector<float> inverse;
  std::vector<std::uint16_t> order;
  std::vector<std::array<std::int8_t, 64>> luts;
  std::vector<ClassQuantiser> classes;
  Analysis analysis;
};

TEST_P(EachEncode, QuantisesAsScalarDoes) {
  unsigned seed = 0;
  std::size_t with_exponent = 0;
  for (const std::size_t channels : kChannelCounts) {
    for (const std::size_t block :
         {std::size_t{1}, std::size_t{16}, std::size_t{48}, std::size_t{64}, std::size_t{128}}) {
      if (channels % block != 0) continue;
      for (const std::size_t tokens : {1U, 7U, 64U}) {
        for (unsigned variant = 0; variant < 8; ++variant, ++seed) {
          Coding coding(channels, block, variant % 2 != 0, seed);
          coding.Divide((variant & 2) != 0, (variant & 4) != 0 ? 5 : 2);
          for (const Pattern pattern : kAllPatterns) {
            auto values = Floats(pattern, tokens * channels, seed);
            for (std::size_t c = 0; c < channels && tokens > 1; ++c) {
              values[channels + c] *= 40.0F;  // a token far outside
            }
            const auto want = coding.Run(kScalarEncode, values, tokens);
            const auto got = coding.Run(kernels(), values, tokens);
            ASSERT_EQ(want.exponents, got.exponents) << channels << ", " << block << ", " << seed;
            ASSERT_EQ(want.symbols, got.symbols)
                << channels << ", " << block << ", " << seed << PatternName(pattern);
            ASSERT_EQ(want.codes, got.codes) << channels << ", " << block << ", " << seed;
            with_exponent +=
                static_cast<std::size_t>(std::count_if(want.exponents.begin(), want.exponents.end(),
                                                       [](std::uint8_t e) { return e != 0; }));
          }
        }
      }
    }
  }
  EXPECT_GT(with_exponent, 100U);
}

// Components that lie just on, below and above the border of a bin, of a clip and of an exponent.
TEST_P(EachEncode, BordersOfBinsAreWhereScalarHasThem) {
  constexpr std::size_t kChannels = 64;
  Coding coding(kChannels, 1, false, 9);
  coding.Divide(true, 2);
  std::fill(coding.mean.begin(), coding.mean.end(), 0.0F);
  std::fill(coding.inverse.begin(), coding.inverse.end(), 1.0F);
  std::vector<float> values;
  for (int half_units = -400; half_units <= 400; ++half_units) {
    const float at = 0.5F * static_cast<float>(half_units);
    values.insert(values.end(), {at, std::nextafter(at, 1e9F), std::nextafter(at, -1e9F), -0.0F});
  }
  const float clip = coding.classes[0].clip;
  for (const float power : {1.0F, 2.0F, 16.0F, 65536.0F, 1e15F}) {
    const float at = clip * power;
    values.insert(values.end(), {at, std::nextafter(at, 1e30F), std::nextafter(at, 0.0F), -at});
  }
  // Each in a token of its own too, so that others' exponents do not hide it.
  std::vector<float> alone(values.size() * kChannels, 1.0F);
  for (std::size_t i = 0; i < values.size(); ++i) alone[i * kChannels + i % kChannels] = values[i];
  values.resize(values.size() / kChannels * kChannels);
  for (const auto& tensor : {values, alone}) {
    const std::size_t tokens = tensor.size() / kChannels;
    ASSERT_TRUE(coding.Run(kScalarEncode, tensor, tokens) == coding.Run(kernels(), tensor, tokens));
  }
}

TEST_P(EachEncode, NumbersThatAreNoneAreClippedAlike) {
  // Out of a profile whose numbers overflow.
  Coding coding(32, 1, true, 4);
  coding.Divide(true, 2);
  coding.inverse[3] = 3e38F;
  coding.inverse[4] = INFINITY;
  coding.mean[4] = 0.0F;
  auto values = Floats(Pattern::kGaussian, 32 * 8, 1);
  for (std::size_t t = 0; t < 4; ++t) values[t * 32 + 4] = 0.0F;  // times infinity
  ASSERT_TRUE(coding.Run(kScalarEncode, values, 8) == coding.Run(kernels(), values, 8));
}

TEST_P(EachEncode, PacksPlanesAndCountsSymbolsAsScalarDoes) {
  std::mt19937 random(2);
  for (const std::size_t count : {0U, 8U, 64U, 72U, 2040U, 2048U, 2104U, 40000U, 400000U}) {
    for (const unsigned alphabet : {1U, 2U, 19U, 64U}) {
      std::vector<std::uint8_t> symbols(count);
      for (std::uint8_t& s : symbols) s = static_cast<std::uint8_t>(random() % alphabet);
      std::vector<std::uint32_t> want(64, 3);
      std::vector<std::uint32_t> got(64, 3);
      kScalarEncode.count_symbols(symbols.data(), count, want.data());
      kernels().count_symbols(symbols.data(), count, got.data());
      ASSERT_EQ(want, got) << count << ", " << alphabet;
      ASSERT_EQ(std::accumulate(want.begin(), want.end(), std::size_t{0}), count + 3 * 64);
      for (const unsigned bit : {0U, 1U, 4U}) {
        std::vector<std::byte> planes[2] = {std::vector<std::byte>(count / 8 + 16, std::byte{9}),
                                            std::vector<std::byte>(count / 8 + 16, std::byte{9})};
        kScalarEncode.pack_plane(symbols.data(), count, bit, planes[0].data());
        kernels().pack_plane(symbols.data(), count, bit, planes[1].data());
        ASSERT_EQ(planes[0], planes[1]) << count << ", " << bit;
      }
    }
  }
}

// What exact adds, with words that are near their prediction and some that are not.
struct Residuals {
  std::vector<std::int8_t> spreads;
  std::vector<std::uint8_t> symbols;
  std::vector<std::byte> bits;
  std::vector<std::byte> escapes;
  bool operator==(const Residuals&) const = default;
};

Residuals RunResidual(const EncodeKernels& kernels, DType dtype, std::size_t channels,
                      const std::vector<std::byte>& predicted,
                      const std::vector<std::byte>& actual) {
  const auto type = static_cast<std::size_t>(dtype);
  const std::size_t count = actual.size() / DTypeBytes(dtype);
  Residuals r;
  r.spreads.resize(channels);
  r.symbols.resize(count);
  r.bits.resize(actual.size() + 8);
  r.escapes.resize(actual.size());
  kernels.spreads[type](predicted.data(), actual.data(), count / channels, channels,
                        r.spreads.data());
  ResidualOut out{.symbols = r.symbols.data(), .bits = r.bits.data(), .escapes = r.escapes.data()};
  kernels.residual[type](predicted.data(), actual.data(), count / channels, channels,
                         r.spreads.data(), out);
  r.bits.resize(out.bits_bytes);
  r.escapes.resize(out.escapes_bytes);
  return r;
}

TEST_P(EachEncode, ResidualsAreWhatScalarSays) {
  std::mt19937 random(5);
  std::size_t escapes = 0;
  std::size_t bits = 0;
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      for (const std::size_t channels : kChannelCounts) {
        for (const std::size_t tokens : {1U, 5U, 33U}) {
          const auto actual = MakeValues(dtype, pattern, tokens * channels, channels + tokens);
          // Close in most low bits; now and then anything.
          auto predicted = actual;
          for (std::size_t i = 0; i < predicted.size(); i += DTypeBytes(dtype)) {
            predicted[i] ^= static_cast<std::byte>(random() & 0x1F);
            if (random() % 50 == 0) predicted[i + DTypeBytes(dtype) - 1] ^= std::byte{0xA4};
          }
          const auto want = RunResidual(kScalarEncode, dtype, channels, predicted, actual);
          const auto got = RunResidual(kernels(), dtype, channels, predicted, actual);
          ASSERT_EQ(want.spreads, got.spreads) << DTypeName(dtype) << PatternName(pattern);
          ASSERT_EQ(want.symbols, got.symbols) << DTypeName(dtype) << PatternName(pattern);
          ASSERT_EQ(want.bits, got.bits) << DTypeName(dtype) << PatternName(pattern);
          ASSERT_EQ(want.escapes, got.escapes) << DTypeName(dtype) << PatternName(pattern);
          escapes += want.escapes.size();
          bits += want.bits.size();
        }
      }
    }
  }
  EXPECT_GT(escapes, 1000U);
  EXPECT_GT(bits, 1000U);
}

// Differences of one size, in all tokens or in one: means of squares that lie on, just below and
// just above powers of two, where the exponent is rounded, down to what a float does not hold.
TEST_P(EachEncode, SpreadsRoundWhereScalarRoundsThem) {
  constexpr std::size_t kChannels = 64;
  for (int exponent = -125; exponent < 120; ++exponent) {
    for (const std::size_t tokens : {1U, 2U, 3U, 8U, 16U}) {
      for (const std::size_t off : {std::size_t{1}, tokens}) {
        std::vector<std::byte> actual(2 * tokens * kChannels);
        std::vector<std::byte> predicted(actual.size());
        for (std::size_t i = 0; i < off * kChannels; ++i) {
          const float x = std::ldexp(1.0F + static_cast<float>(i % kChannels) / 64.0F, exponent);
          const std::uint16_t word = Bf16Number::FromFloat(i / kChannels % 2 == 0 ? x : -x);
          std::memcpy(actual.data() + 2 * i, &word, 2);
        }
        const auto want = RunResidual(kScalarEncode, DType::kBf16, kChannels, predicted, actual);
        const auto got = RunResidual(kernels(), DType::kBf16, kChannels, predicted, actual);
        ASSERT_EQ(want.spreads, got.spreads) << exponent << ", " << off << " of " << tokens;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EachEncode, testing::ValuesIn(SupportedKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

}  // namespace
}  // namespace kdn::codec
