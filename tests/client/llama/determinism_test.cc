// Goal: whoever resumes at a multiple of kStepTokens over a past that was cached before gets the
// very bits of a prefill from 0; nothing but tokens, place and cached values plays a part. Method:
// the past is copied into a fresh, poisoned cache with other blocks, as a fetch would, and the rest
// is prefilled there. A NaN from a slot that nobody wrote would reach every logit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

constexpr std::uint32_t kBlocks = 70;  // of 16 tokens

// Copies the first `tokens` tokens' K and V between caches of one dtype, whatever their layout.
void CopyPast(const PagedCache& from, std::span<const std::uint32_t> from_blocks,
              const PagedCache& to, std::span<const std::uint32_t> to_blocks,
              std::uint32_t tokens) {
  const std::size_t bytes =
      from.head_size() * (from.options().dtype == DType::kBf16 ? sizeof(std::uint16_t) : 4U);
  const std::uint32_t from_size = from.options().block_tokens;
  const std::uint32_t to_size = to.options().block_tokens;
  for (std::uint32_t layer = 0; layer < from.layers(); ++layer) {
    for (const Plane plane : {Plane::kK, Plane::kV}) {
      for (std::uint32_t head = 0; head < from.kv_heads(); ++head) {
        for (std::uint32_t t = 0; t < tokens; ++t) {
          std::memcpy(to.Values(layer, plane, head, to_blocks[t / to_size], t % to_size),
                      from.Values(layer, plane, head, from_blocks[t / from_size], t % from_size),
                      bytes);
        }
      }
    }
  }
}

struct Caches {
  const char* name;
  PagedCacheOptions whole;    // where everything is computed
  PagedCacheOptions resumed;  // where the past is copied to
};

void PrintTo(const Caches& caches, std::ostream* out) {
  *out << caches.name;
}

class Resume : public testing::TestWithParam<std::tuple<Caches, std::size_t>> {
 protected:
  std::vector<float> PrefillFrom(std::size_t start, PagedCache& cache,
                                 std::span<const std::uint32_t> blocks) {
    const auto logits =
        executor_->Prefill(std::span(prompt_).subspan(start), start, {cache, blocks});
    EXPECT_TRUE(logits.has_value()) << logits.error().ToString();
    return {logits->begin(), logits->end()};
  }

  const Caches& caches_ = std::get<Caches>(GetParam());
  std::unique_ptr<Executor> executor_ = LoadModel();
  std::vector<TokenId> prompt_ = Prompt(std::get<std::size_t>(GetParam()), /*start_byte=*/1000);
};

TEST_P(Resume, AtEveryMultipleOfTheStepGivesTheBitsOfAWholePrefill) {
  PagedCache whole = MakeCache(*executor_, caches_.whole);
  const auto whole_blocks = ScatteredBlocks(caches_.whole.block_count, 7);
  const std::vector<float> want = PrefillFrom(0, whole, whole_blocks);
  ASSERT_FALSE(std::isnan(want[0]));
  for (std::uint32_t start = kStepTokens; start < prompt_.size(); start += kStepTokens) {
    PagedCache resumed = MakeCache(*executor_, caches_.resumed);
    const auto blocks = ScatteredBlocks(caches_.resumed.block_count, 11);
    CopyPast(whole, whole_blocks, resumed, blocks, start);
    EXPECT_TRUE(SameBits(PrefillFrom(start, resumed, blocks), want)) << "resumed at " << start;
  }
}

constexpr Caches kCachePairs[] = {
    {"Bf16SameLayout", {.block_count = kBlocks}, {.block_count = kBlocks}},
    {"Bf16NhdToHnd", {.block_count = kBlocks}, {.block_count = kBlocks, .layout = KvLayout::kHnd}},
    {"Bf16ToBlocksOf256Tokens", {.block_count = kBlocks}, {.block_count = 5, .block_tokens = 256}},
    {"Fp32ToBlocksOf24Tokens",
     {.block_count = kBlocks, .dtype = DType::kFp32},
     {.block_count = 50, .block_tokens = 24, .dtype = DType::kFp32}},
};
INSTANTIATE_TEST_SUITE_P(Caches, Resume,
                         testing::Combine(testing::ValuesIn(kCachePairs),
                                          testing::Values(257, 300, 512, 513, 770, 1025)),
                         [](const auto& param) {
                           return std::get<0>(param.param).name +
                                  std::to_string(std::get<1>(param.param));
                         });

class Bits : public testing::Test {
 protected:
  static constexpr std::size_t kLength = 600;

  std::vector<float> Whole(Executor& executor, const PagedCacheOptions& options = kCache) {
    PagedCache cache = MakeCache(executor, options);
    const auto blocks = ScatteredBlocks(options.block_count);
    const auto logits = executor.Prefill(prompt_, 0, {cache, blocks});
    EXPECT_TRUE(logits.has_value());
    return {logits->begin(), logits->end()};
  }

  static constexpr PagedCacheOptions kCache = {.block_count = kBlocks};
  std::vector<TokenId> prompt_ = Prompt(kLength, /*start_byte=*/5000);
};

TEST_F(Bits, DoNotDependOnTheNumberOfThreads) {
  const std::vector<float> want = Whole(*LoadModel({.threads = 1}));
  EXPECT_TRUE(SameBits(Whole(*LoadModel({.threads = 2})), want));
  EXPECT_TRUE(SameBits(Whole(*LoadModel({.threads = 5})), want));
}

TEST_F(Bits, DoNotDependOnTheLayoutOrTheSizeOfBlocks) {
  const auto executor = LoadModel();
  const std::vector<float> want = Whole(*executor);
  for (const std::uint32_t block_tokens : {1U, 100U, 256U}) {
    for (const KvLayout layout : {KvLayout::kNhd, KvLayout::kHnd}) {
      const PagedCacheOptions options{
          .block_count = 700 / block_tokens + 1, .block_tokens = block_tokens, .layout = layout};
      EXPECT_TRUE(SameBits(Whole(*executor, options), want)) << block_tokens;
    }
  }
}

TEST_F(Bits, AreTheSameOnEveryRun) {
  const auto executor = LoadModel();
  const std::vector<float> want = Whole(*executor);
  for (int run = 0; run < 3; ++run) EXPECT_TRUE(SameBits(Whole(*executor), want));
}

TEST_F(Bits, OfPrefillInSeveralCallsAreThoseOfOneCall) {
  const auto executor = LoadModel();
  const std::vector<float> want = Whole(*executor);
  PagedCache cache = MakeCache(*executor, kCache);
  const auto blocks = ScatteredBlocks(kBlocks);
  ASSERT_TRUE(executor->Prefill(std::span(prompt_).first(512), 0, {cache, blocks}).has_value());
  const auto got = executor->Prefill(std::span(prompt_).subspan(512), 512, {cache, blocks});
  EXPECT_TRUE(SameBits(*got, want));
}

TEST_F(Bits, OfKeysAndValuesOfAFullStepDoNotDependOnWhatFollows) {
  const auto executor = LoadModel();
  PagedCache long_cache = MakeCache(*executor, {.block_count = 3, .block_tokens = 256});
  PagedCache short_cache = MakeCache(*executor, {.block_count = 3, .block_tokens = 256});
  const std::vector<std::uint32_t> blocks = {0, 1, 2};
  ASSERT_TRUE(executor->Prefill(prompt_, 0, {long_cache, blocks}).has_value());
  ASSERT_TRUE(
      executor->Prefill(std::span(prompt_).first(512), 0, {short_cache, blocks}).has_value());
  const std::size_t bytes = std::size_t{512} * long_cache.kv_heads() * long_cache.head_size() * 2;
  for (std::uint32_t layer = 0; layer < long_cache.layers(); ++layer) {
    for (const Plane plane : {Plane::kK, Plane::kV}) {
      EXPECT_EQ(std::memcmp(long_cache.Values(layer, plane, 0, 0, 0),
                            short_cache.Values(layer, plane, 0, 0, 0), bytes),
                0);
    }
  }
}

TEST_F(Bits, OfAResumeElsewhereAreRepeatableAndCloseToAWholePrefill) {
  const auto executor = LoadModel();
  const std::vector<float> want = Whole(*executor, {.block_count = kBlocks, .dtype = DType::kFp32});
  std::vector<float> first;
  for (int run = 0; run < 2; ++run) {
    PagedCache cache = MakeCache(*executor, {.block_count = kBlocks, .dtype = DType::kFp32});
    const auto blocks = ScatteredBlocks(kBlocks);
    ASSERT_TRUE(executor->Prefill(std::span(prompt_).first(333), 0, {cache, blocks}).has_value());
    const auto got = executor->Prefill(std::span(prompt_).subspan(333), 333, {cache, blocks});
    ASSERT_TRUE(got.has_value());
    EXPECT_LT(Deviation(*got, want), 1e-4);
    if (run == 0) first.assign(got->begin(), got->end());
    EXPECT_TRUE(SameBits(*got, first));
  }
}

}  // namespace
}  // namespace kdn::llama
