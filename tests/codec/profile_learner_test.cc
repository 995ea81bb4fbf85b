// Goal: a profile is what was asked for, for every shape of model: blocks that divide the head,
// keys and values at the bins that a model feels alike, and a clear error for what cannot be.
// Method: pages of independent Gaussian values, all planes alike; what the learner makes of them.
#include "codec/profile_learner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/kernels/float_bits.h"
#include "tests/codec/level_pages.h"

namespace kdn::codec {
namespace {

constexpr std::uint32_t kTokens = 512;

ModelSpec SpecOf(AttentionKind attention, std::uint16_t k_size, std::uint16_t v_size) {
  ModelSpec spec;
  spec.name = "learned";
  spec.groups.push_back({.attention = attention,
                         .layers = {0},
                         .kv_heads = 1,
                         .k_head_size = k_size,
                         .v_head_size = v_size});
  return spec;
}

ProfileLearner Counted(const ModelSpec& spec, std::uint16_t block_max) {
  Page page(spec, kTokens);
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (std::size_t plane = 0; plane < 2; ++plane) {
    for (std::size_t at = 0; at < page.plane(plane).size(); at += 2) {
      const std::uint16_t word = Bf16Number::FromFloat(normal(random));
      std::memcpy(page.plane(plane).data() + at, &word, sizeof(word));
    }
  }
  ProfileLearner learner = ProfileLearner::Make(spec, block_max).value();
  EXPECT_TRUE(learner.Add(page.kv(), page.tables(), {0, kTokens}, 0).ok());
  return learner;
}

std::uint16_t BlockFor(std::uint16_t head_size, std::uint16_t block_max, std::uint16_t wanted) {
  const ModelSpec spec = SpecOf(AttentionKind::kGrouped, head_size, head_size);
  const auto profile = Counted(spec, block_max).Learn({}, {.draft_bits = 1.5, .block = wanted});
  EXPECT_TRUE(profile.has_value()) << profile.error().ToString();
  EXPECT_EQ(profile->strip(0, 0, 0).block, profile->strip(0, 1, 0).block);
  return profile->strip(0, 0, 0).block;
}

TEST(ProfileLearner, TakesTheLargestBlockThatDividesTheHead) {
  for (const std::uint16_t block_max : {64, 128}) {
    EXPECT_EQ(BlockFor(64, block_max, 64), 64) << block_max;
    EXPECT_EQ(BlockFor(96, block_max, 64), 48) << block_max;
    EXPECT_EQ(BlockFor(80, block_max, 64), 16) << block_max;
    EXPECT_EQ(BlockFor(192, block_max, 64), 64) << block_max;
    EXPECT_EQ(BlockFor(32, block_max, 64), 32) << block_max;  // of fewer channels, all
    EXPECT_EQ(BlockFor(96, block_max, 1), 1) << block_max;
  }
  EXPECT_EQ(BlockFor(96, 128, 32), 32);
  EXPECT_EQ(BlockFor(96, 64, 32), 16);  // 48 were counted together
  EXPECT_EQ(BlockFor(96, 96, 96), 96);
}

// How wide the bins of a plane are beside those of the other.
double BinsOfLatter(const ModelSpec& spec) {
  const Profile profile = Counted(spec, 1).Learn({}, {.draft_bits = 2.5, .block = 1}).value();
  const auto mean = [&](std::size_t plane) {
    double sum = 0.0;
    for (const float scale : profile.strip(0, plane, 0).scale) sum += double{scale};
    return sum / static_cast<double>(profile.strip(0, plane, 0).scale.size());
  };
  return mean(1) / mean(0);
}

TEST(ProfileLearner, GivesKeysTheNarrowerBins) {
  // As many bits as an error of values counts less, which is half as much.
  EXPECT_NEAR(BinsOfLatter(SpecOf(AttentionKind::kGrouped, 64, 64)), std::sqrt(2.0), 0.05);
  // A latent makes keys as well as values: its errors count as much as its rope's.
  EXPECT_NEAR(BinsOfLatter(SpecOf(AttentionKind::kLatent, 128, 64)), 1.0, 0.05);
}

TEST(ProfileLearner, RefusesWhatItCannotLearn) {
  const ModelSpec spec = SpecOf(AttentionKind::kGrouped, 64, 64);
  const ProfileLearner learner = Counted(spec, 32);
  EXPECT_EQ(learner.Learn({}, {.block = 64}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(learner.Learn({}, {.block = 0}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(learner.Learn({}, {.block = 24}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(learner.Learn({}, {.block = 32, .weights = {{1.0}}}).error().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(ProfileLearner::Make(spec)->Learn({}, {.block = 1}).error().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(ProfileLearner::Make(SpecOf(AttentionKind::kGrouped, 72, 64)).error().code(),
            Code::kUnimplemented);
}

}  // namespace
}  // namespace kdn::codec
