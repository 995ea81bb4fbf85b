// Goal: what the executor promises beside numbers: hooks in order, errors by name, decoding as
// prefilling, nothing read that was not written.
#include "client/llama/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "client/llama/weights.h"
#include "tests/client/llama/fixture.h"
#include "tests/client/llama/synthetic_model.h"
#include "tests/support/temp_dir.h"

namespace kdn::llama {
namespace {

class TinyExecutor : public testing::Test {
 protected:
  Code PrefillCode(std::span<const TokenId> tokens, std::uint64_t first,
                   std::span<const std::uint32_t> blocks) {
    const auto got = executor_->Prefill(tokens, first, {cache_, blocks});
    return got ? Code::kOk : got.error().code();
  }

  std::unique_ptr<Executor> executor_ = LoadModel();
  PagedCache cache_ = MakeCache(*executor_, {.block_count = 40});
  std::vector<std::uint32_t> blocks_ = ScatteredBlocks(40);
  std::vector<TokenId> prompt_ = Prompt(300);
};

TEST_F(TinyExecutor, CallsHooksLayerByLayerInEveryStep) {
  using Call = std::tuple<std::string, std::uint32_t, std::uint64_t, std::uint32_t>;
  std::vector<Call> calls;
  const PrefillOptions options{
      .hooks = {.before_layer =
                    [&](std::uint32_t layer) {
                      calls.emplace_back("before", layer, 0, 0);
                      return Status();
                    },
                .after_layer_kv =
                    [&](std::uint32_t layer, std::uint64_t first, std::uint32_t count) {
                      calls.emplace_back("after", layer, first, count);
                    }}};
  ASSERT_TRUE(executor_->Prefill(prompt_, 0, {cache_, blocks_}, options).has_value());
  std::vector<Call> want;
  for (const auto& [first, count] : {std::pair<std::uint64_t, std::uint32_t>{0, 256}, {256, 44}}) {
    for (std::uint32_t layer = 0; layer < 6; ++layer) {
      want.emplace_back("before", layer, 0, 0);
      want.emplace_back("after", layer, first, count);
    }
  }
  EXPECT_EQ(calls, want);
}

TEST_F(TinyExecutor, ReadsALayersPastOnlyAfterItsHook) {
  // The past arrives layer by layer, as a load does: each layer's stays poisoned until it is due.
  const auto tokens = std::span<const TokenId>(prompt_);
  const auto whole = executor_->Prefill(tokens, 0, {cache_, blocks_});
  const std::vector<float> want(whole->begin(), whole->end());
  PagedCache late = MakeCache(*executor_, {.block_count = 40});
  const std::size_t layer_bytes = cache_.memory().size() / 6;
  const PrefillOptions options{.hooks = {.before_layer = [&](std::uint32_t layer) {
                                 std::memcpy(late.memory().data() + layer * layer_bytes,
                                             cache_.memory().data() + layer * layer_bytes,
                                             layer_bytes);
                                 return Status();
                               }}};
  const auto got = executor_->Prefill(tokens.subspan(256), 256, {late, blocks_}, options);
  EXPECT_TRUE(SameBits(*got, want));
}

TEST_F(TinyExecutor, AHooksErrorEndsThePrefillAndIsReturned) {
  int calls = 0;
  const PrefillOptions options{.hooks = {.before_layer = [&](std::uint32_t layer) {
                                 ++calls;
                                 return layer == 2 ? Status(Code::kUnavailable) : Status();
                               }}};
  const auto got = executor_->Prefill(prompt_, 0, {cache_, blocks_}, options);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), Code::kUnavailable);
  EXPECT_EQ(calls, 3);
}

TEST_F(TinyExecutor, AMissingPastShowsInEveryLogit) {
  const auto got = executor_->Prefill(std::span(prompt_).subspan(256), 256, {cache_, blocks_});
  ASSERT_TRUE(got.has_value());
  for (const float logit : *got) ASSERT_TRUE(std::isnan(logit));
}

TEST_F(TinyExecutor, OneMissingKeyShowsInTheLogits) {
  ASSERT_TRUE(executor_->Prefill(prompt_, 0, {cache_, blocks_}).has_value());
  for (const Plane plane : {Plane::kK, Plane::kV}) {
    auto* value = reinterpret_cast<std::uint16_t*>(cache_.Values(3, plane, 1, blocks_[6], 5));
    const std::uint16_t was = *value;
    *value = 0x7FC0;
    const auto got = executor_->Prefill(std::span(prompt_).subspan(256), 256, {cache_, blocks_});
    EXPECT_TRUE(std::isnan((*got)[0]));
    *value = was;
  }
}

TEST_F(TinyExecutor, DecodingGivesWhatPrefillingTheSameTokensWould) {
  PagedCache fp32 = MakeCache(*executor_, {.block_count = 40, .dtype = DType::kFp32});
  ASSERT_TRUE(executor_->Prefill(std::span(prompt_).first(290), 0, {fp32, blocks_}).has_value());
  TokenId next = 0;
  for (std::size_t position = 290; position < prompt_.size(); ++position) {
    next = executor_->Decode(prompt_[position], position, {fp32, blocks_}).value();
  }
  const auto whole = executor_->Prefill(prompt_, 0, {fp32, blocks_});
  EXPECT_EQ(next, Likeliest(*whole));
}

TEST_F(TinyExecutor, GenerateContinuesUntilItsCountOrTheStop) {
  const auto logits = executor_->Prefill(prompt_, 0, {cache_, blocks_});
  const std::vector<float> start(logits->begin(), logits->end());
  constexpr TokenId kNever = ~TokenId{0};
  const auto eight =
      executor_->Generate(start, prompt_.size(), {cache_, blocks_}, 8, kNever).value();
  ASSERT_EQ(eight.size(), 8U);
  EXPECT_EQ(eight[0], Likeliest(start));
  // Decoding by hand says the same.
  TokenId by_hand = eight[0];
  for (std::size_t i = 0; i + 1 < eight.size(); ++i) {
    by_hand = executor_->Decode(by_hand, prompt_.size() + i, {cache_, blocks_}).value();
    EXPECT_EQ(by_hand, eight[i + 1]);
  }
  const auto stopped =
      executor_->Generate(start, prompt_.size(), {cache_, blocks_}, 8, eight[0]).value();
  EXPECT_EQ(stopped, std::vector<TokenId>{eight[0]});
}

TEST_F(TinyExecutor, AllLogitsEndWithThoseOfTheLastToken) {
  const auto last = executor_->Prefill(prompt_, 0, {cache_, blocks_});
  const std::vector<float> want(last->begin(), last->end());
  const auto all =
      executor_->Prefill(prompt_, 0, {cache_, blocks_}, {.hooks = {}, .all_logits = true});
  ASSERT_EQ(all->size(), prompt_.size() * want.size());
  EXPECT_LT(Deviation(all->last(want.size()), want), 1e-5);
}

TEST_F(TinyExecutor, RefusesWhatItWasNotMadeFor) {
  const auto tokens = std::span<const TokenId>(prompt_);
  EXPECT_EQ(PrefillCode({}, 0, blocks_), Code::kInvalidArgument);
  EXPECT_EQ(PrefillCode(tokens, 4000, blocks_), Code::kOutOfRange);
  EXPECT_EQ(PrefillCode(tokens, ~std::uint64_t{0}, blocks_), Code::kOutOfRange);
  EXPECT_EQ(PrefillCode(tokens, 0, std::span(blocks_).first(18)), Code::kInvalidArgument);
  const std::vector<std::uint32_t> beyond(40, 40);
  EXPECT_EQ(PrefillCode(tokens, 0, beyond), Code::kInvalidArgument);
  const std::vector<TokenId> no_token = {2048};
  EXPECT_EQ(PrefillCode(no_token, 0, blocks_), Code::kInvalidArgument);
  LlamaConfig other = executor_->config();
  other.layers = 5;
  PagedCache foreign = PagedCache::Make(other, {.block_count = 40}).value();
  EXPECT_EQ(executor_->Prefill(tokens, 0, {foreign, blocks_}).error().code(),
            Code::kInvalidArgument);
}

TEST(LoadModel, SaysWhatIsWrongWithAFolder) {
  const test::TempDir folder;
  const std::string path = folder.path().string();
  EXPECT_EQ(Executor::Load(path).error().code(), Code::kNotFound);
  WriteModel({}, path);
  EXPECT_TRUE(Executor::Load(path, {.threads = 1}).has_value());
  EXPECT_EQ(Executor::Load(path, {.threads = 1, .kernels = "abacus"}).error().code(),
            Code::kNotFound);
  EXPECT_EQ(Executor::Load(path, {.threads = 257}).error().code(), Code::kInvalidArgument);
  std::filesystem::rename(folder.File("model.safetensors"), folder.File("shard"));
  EXPECT_EQ(Executor::Load(path).error().code(), Code::kNotFound);
  WriteFile(folder.File("model.safetensors.index.json"), "{}");
  EXPECT_EQ(Executor::Load(path).error().code(), Code::kUnimplemented);
}

TEST(LoadModel, RefusesWeightsThatDoNotFitTheConfig) {
  const test::TempDir folder;
  const test::TempDir other;
  const SyntheticModel models[] = {{.hidden_size = 40},
                                   {.layers = 3},
                                   {.vocab_size = 68},
                                   {.kv_heads = 3},
                                   {.qkv_bias = true, .output_bias = true}};
  for (const SyntheticModel& model : models) {
    WriteModel({}, folder.path().string());
    WriteModel(model, other.path().string());
    std::filesystem::rename(other.File("config.json"), folder.File("config.json"));
    const auto loaded = Executor::Load(folder.path().string());
    ASSERT_FALSE(loaded.has_value());
    EXPECT_TRUE(loaded.error().code() == Code::kInvalidArgument ||
                loaded.error().code() == Code::kNotFound)
        << loaded.error().ToString();
  }
}

TEST(LoadModel, MakesNoMemoryForWeightsThatTheFileCannotHold) {
  const test::TempDir folder;
  WriteModel({}, folder.path().string());
  std::ifstream written(folder.File("config.json"));
  std::string config(std::istreambuf_iterator<char>(written), {});
  const std::string size = "\"intermediate_size\": 52";
  config.replace(config.find(size), size.size(), "\"intermediate_size\": 262144");
  WriteFile(folder.File("config.json"), config);
  const auto loaded = Executor::Load(folder.path().string());
  ASSERT_FALSE(loaded.has_value());
  EXPECT_NE(loaded.error().message().find("smaller than config.json implies"), std::string::npos);
}

TEST(WeightsRevision, ChangesWithEitherFile) {
  const test::TempDir folder;
  const std::string path = folder.path().string();
  WriteModel({}, path);
  const std::string first = WeightsRevision(path).value();
  EXPECT_EQ(first.size(), 64U);
  EXPECT_EQ(WeightsRevision(path).value(), first);
  std::ofstream(folder.File("config.json"), std::ios::app) << " ";
  const std::string second = WeightsRevision(path).value();
  EXPECT_NE(second, first);
  std::fstream weights(folder.File("model.safetensors"),
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-1, std::ios::end);
  weights.put('\x01');
  weights.close();
  EXPECT_NE(WeightsRevision(path).value(), second);
  EXPECT_EQ(WeightsRevision("/nowhere").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::llama
