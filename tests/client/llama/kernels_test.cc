// Goal: every instruction set's table computes the formulas of kernels.h, at the lengths where
// vector code breaks and for values where approximations do. Method: double precision beside it; a
// guard value behind each output must survive.
#include "client/llama/kernels/kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace kdn::llama {
namespace {

constexpr std::size_t kLengths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 256};
constexpr float kGuard = 12345.0F;

std::vector<float> Values(std::size_t count, float spread, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

std::vector<float> Guarded(std::size_t count) {
  return std::vector<float>(count + 1, kGuard);
}

std::vector<std::string> SupportedNames() {
  std::vector<std::string> names;
  for (const Kernels* kernels : SupportedKernels()) names.emplace_back(kernels->name);
  return names;
}

class EachTable : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels_ = *SelectKernels(GetParam()).value();
};

TEST_P(EachTable, NormalisesByTheRootOfTheMeanSquare) {
  for (const std::size_t count : kLengths) {
    const auto x = Values(count, 3.0F, 1);
    const auto weight = Values(count, 1.0F, 2);
    auto out = Guarded(count);
    kernels_.rms_norm(x.data(), weight.data(), 1e-5F, count, out.data());
    double squares = 0.0;
    for (const float value : x) squares += double{value} * value;
    const double root = std::sqrt(squares / static_cast<double>(count) + 1e-5);
    for (std::size_t i = 0; i < count; ++i) {
      const double want = x[i] * double{weight[i]} / root;
      EXPECT_NEAR(out[i], want, 1e-6 * std::abs(want) + 1e-9) << i << " of " << count;
    }
    EXPECT_EQ(out[count], kGuard);
  }
}

TEST_P(EachTable, SwigluIsExactToFloatAlsoFarFromZero) {
  for (const std::size_t count : kLengths) {
    auto gate = Values(count, 20.0F, 3);
    gate[0] = -200.0F;
    gate[count / 2] = 200.0F;
    gate[count - 1] = 0.0F;
    const auto up = Values(count, 2.0F, 4);
    auto out = Guarded(count);
    kernels_.swiglu(gate.data(), up.data(), count, out.data());
    for (std::size_t i = 0; i < count; ++i) {
      const double want = gate[i] / (1.0 + std::exp(-double{gate[i]})) * up[i];
      EXPECT_NEAR(out[i], want, 1e-6 * std::abs(want) + 1e-30) << gate[i];
    }
    EXPECT_EQ(out[count], kGuard);
  }
}

TEST_P(EachTable, ExponentialsErrByLessThanThreeUlp) {
  // Through softmax_block with the maximum at 0: its outputs are exp(score).
  std::vector<float> scores;
  for (float x = 0.0F; x > -80.0F; x -= 0.0137F) scores.push_back(x);
  const std::vector<float> in = scores;
  SoftmaxState state;
  kernels_.softmax_block(scores.data(), scores.size(), scores.size(), state);
  EXPECT_EQ(state.max, 0.0F);
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double want = std::exp(double{in[i]});
    EXPECT_NEAR(scores[i], want, 3.0 * 6e-8 * want) << in[i];
  }
}

TEST_P(EachTable, SoftmaxOverBlocksIsSoftmaxOverAll) {
  for (const std::size_t count : kLengths) {
    const auto scores = Values(3 * count, 4.0F, 5);
    double total = 0.0;
    for (const float score : scores) total += std::exp(double{score});
    SoftmaxState state;
    double weighted = 0.0;  // what attention would have summed, with i as the value of key i
    for (std::size_t block = 0; block < 3; ++block) {
      std::vector<float> part(scores.begin() + static_cast<std::ptrdiff_t>(block * count),
                              scores.begin() + static_cast<std::ptrdiff_t>((block + 1) * count));
      weighted *= double{kernels_.softmax_block(part.data(), count, count, state)};
      for (std::size_t i = 0; i < count; ++i) {
        weighted += part[i] * static_cast<double>(block * count + i);
      }
    }
    double want = 0.0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      want += std::exp(double{scores[i]}) / total * static_cast<double>(i);
    }
    EXPECT_NEAR(weighted / double{state.sum}, want, 2e-6 * want + 1e-9) << count;
  }
}

TEST_P(EachTable, HiddenScoresAreZeroAndDoNotCount) {
  for (std::size_t visible = 1; visible <= 70; ++visible) {
    std::vector<float> scores = Values(71, 1.0F, 6);
    std::vector<float> shorter(scores.begin(),
                               scores.begin() + static_cast<std::ptrdiff_t>(visible));
    for (std::size_t i = visible; i < 70; ++i) {
      scores[i] = i % 2 == 0 ? 1e30F : std::numeric_limits<float>::quiet_NaN();
    }
    const float guard = scores[70];
    SoftmaxState with_hidden;
    SoftmaxState without;
    kernels_.softmax_block(scores.data(), visible, 70, with_hidden);
    kernels_.softmax_block(shorter.data(), visible, visible, without);
    EXPECT_EQ(with_hidden.sum, without.sum);
    EXPECT_EQ(with_hidden.max, without.max);
    for (std::size_t i = 0; i < 70; ++i) EXPECT_EQ(scores[i], i < visible ? shorter[i] : 0.0F);
    EXPECT_EQ(scores[70], guard);
  }
}

TEST_P(EachTable, OneHugeScoreTakesAll) {
  std::vector<float> scores(40, -5.0F);
  scores[33] = 3000.0F;
  SoftmaxState state;
  kernels_.softmax_block(scores.data(), 40, 40, state);
  EXPECT_EQ(scores[33], 1.0F);
  EXPECT_LT(scores[0], 1e-30F);
  EXPECT_EQ(state.sum, 1.0F);
}

TEST_P(EachTable, NanReachesTheSum) {
  for (const std::size_t at : {0U, 20U, 36U}) {
    std::vector<float> scores(37, 1.0F);
    scores[at] = std::bit_cast<float>(0x7FC00000U);
    SoftmaxState state;
    kernels_.softmax_block(scores.data(), scores.size(), scores.size(), state);
    EXPECT_TRUE(std::isnan(state.sum)) << at;
  }
}

TEST_P(EachTable, RotatesPairsOfHalves) {
  for (const std::size_t half : kLengths) {
    const auto in = Values(2 * half, 1.0F, 7);
    std::vector<float> table(2 * half);
    for (std::size_t i = 0; i < half; ++i) {
      table[i] = std::cos(0.3F * static_cast<float>(i));
      table[half + i] = std::sin(0.3F * static_cast<float>(i));
    }
    auto out = Guarded(2 * half);
    kernels_.rotate(in.data(), table.data(), half, 0.5F, out.data());
    for (std::size_t i = 0; i < half; ++i) {
      EXPECT_NEAR(out[i], 0.5F * (in[i] * table[i] - in[half + i] * table[half + i]), 1e-6F);
      EXPECT_NEAR(out[half + i], 0.5F * (in[half + i] * table[i] + in[i] * table[half + i]), 1e-6F);
    }
    EXPECT_EQ(out[2 * half], kGuard);
    std::vector<float> in_place = in;
    kernels_.rotate(in_place.data(), table.data(), half, 0.5F, in_place.data());
    EXPECT_EQ(in_place, std::vector<float>(out.begin(), out.end() - 1));
  }
}

TEST_P(EachTable, ScalesAndAdds) {
  for (const std::size_t count : kLengths) {
    auto x = Values(count + 1, 1.0F, 8);
    const auto was = x;
    const auto y = Values(count, 1.0F, 9);
    kernels_.scale(x.data(), 0.25F, count);
    kernels_.add(x.data(), y.data(), count);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(x[i], was[i] * 0.25F + y[i]);
    EXPECT_EQ(x[count], was[count]);
  }
}

TEST_P(EachTable, Bf16RoundsToNearestEvenAndKeepsNan) {
  const std::vector<std::pair<std::uint32_t, std::uint16_t>> cases = {
      {0x3F800000, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F808001, 0x3F81}, {0x3F818000, 0x3F82},
      {0x3F817FFF, 0x3F81}, {0x7F7FFFFF, 0x7F80}, {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80},
      {0x7F800001, 0x7FC0}, {0xFFFFFFFF, 0xFFFF}, {0x80000000, 0x8000}, {0x00000001, 0x0000},
      {0x00008001, 0x0001}, {0xBF80C000, 0xBF81}};
  for (std::size_t shift = 0; shift < 16; ++shift) {  // every case in lanes and in the tail
    std::vector<float> in(cases.size() + 17 + shift);
    for (std::size_t i = 0; i < in.size(); ++i) {
      in[i] = std::bit_cast<float>(cases[(i + shift) % cases.size()].first);
    }
    std::vector<std::uint16_t> out(in.size() + 1, 0xABCD);
    kernels_.narrow_bf16(in.data(), in.size(), out.data());
    for (std::size_t i = 0; i < in.size(); ++i) {
      EXPECT_EQ(out[i], cases[(i + shift) % cases.size()].second) << std::hex << i;
    }
    EXPECT_EQ(out.back(), 0xABCD);
  }
}

TEST_P(EachTable, Bf16WidensEveryPattern) {
  std::vector<std::uint16_t> in(65536 + 5);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint16_t>(i);
  std::vector<float> out(in.size());
  kernels_.widen_bf16(in.data(), in.size(), out.data());
  for (std::size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), static_cast<std::uint32_t>(in[i]) << 16);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EachTable, testing::ValuesIn(SupportedNames()),
                         [](const auto& param) { return param.param; });

TEST(SelectKernels, UnknownNameIsAnErrorNotAFallback) {
  EXPECT_EQ(SelectKernels("avx-1024").error().code(), Code::kNotFound);
  EXPECT_EQ(SelectKernels("generic").value()->name, "generic");
  EXPECT_EQ(SelectKernels("").value(), SupportedKernels().back());
}

}  // namespace
}  // namespace kdn::llama
