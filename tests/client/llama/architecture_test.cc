// Goal: every variant that the executor accepts computes what the naive model of double precision
// does: biases, tied and own output matrices, rotary scalings, weight types, odd sizes.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "tests/client/llama/fixture.h"
#include "tests/client/llama/naive_llama.h"
#include "tests/client/llama/synthetic_model.h"
#include "tests/support/temp_dir.h"

namespace kdn::llama {
namespace {

constexpr const char* kLlama3 =
    R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64})";

struct Variant {
  const char* name;
  SyntheticModel model;
};

void PrintTo(const Variant& variant, std::ostream* out) {
  *out << variant.name;
}

class Architecture : public testing::TestWithParam<Variant> {};

TEST_P(Architecture, ComputesWhatTheNaiveModelDoes) {
  const test::TempDir folder;
  WriteModel(GetParam().model, folder.path().string());
  const auto executor = Executor::Load(folder.path().string(), {.threads = 2});
  ASSERT_TRUE(executor.has_value()) << executor.error().ToString();
  const LlamaConfig& config = (*executor)->config();
  std::vector<TokenId> tokens(40);
  for (std::uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = i * 31 % config.vocab_size;

  PagedCache cache = MakeCache(**executor, {.block_count = 3, .dtype = DType::kFp32});
  const std::vector<std::uint32_t> blocks = {2, 0, 1};
  const auto got =
      (*executor)->Prefill(tokens, 0, {cache, blocks}, {.hooks = {}, .all_logits = true});
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  const std::vector<double> exact = NaiveLogits(folder.path().string(), config, tokens);
  const std::vector<float> want(exact.begin(), exact.end());
  EXPECT_LT(Deviation(*got, want), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, Architecture,
    testing::Values(
        Variant{"OddSizes", {}}, Variant{"TiedEmbeddings", {.tied_embeddings = true}},
        Variant{"Qwen2WithQkvBias", {.model_type = "qwen2", .qkv_bias = true}},
        Variant{"BiasOnAllOfAttention", {.qkv_bias = true, .output_bias = true}},
        Variant{"EveryHeadItsOwnKv", {.heads = 4, .kv_heads = 4}},
        Variant{"FiveQueryHeadsOfTwoKvHeads", {.heads = 10, .kv_heads = 2, .head_size = 16}},
        Variant{"HeadOfTwoValues", {.head_size = 2}},
        Variant{"WideEnoughForSeveralSlices",
                {.hidden_size = 272, .intermediate_size = 600, .layers = 1, .head_size = 64}},
        Variant{"LinearRotaryScaling", {.rope_scaling = R"({"type": "linear", "factor": 4.0})"}},
        Variant{"Llama3RotaryScaling", {.head_size = 32, .rope_scaling = kLlama3}},
        Variant{"Bf16Weights", {.weight_type = "BF16"}},
        Variant{"Fp16Weights", {.weight_type = "F16"}}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace kdn::llama
