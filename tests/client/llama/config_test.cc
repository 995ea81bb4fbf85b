// Goal: a config.json means what Hugging Face means by it, and what the executor would compute
// wrongly is refused by name.
#include "client/llama/config.h"

#include <gtest/gtest.h>

#include <string>

#include "client/llama/rotary.h"
#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

constexpr std::string_view kPlain =
    R"({"model_type": "llama", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 128)";

Result<LlamaConfig> ParseWith(std::string_view more) {
  return ParseConfig(std::string(kPlain) + std::string(more) + "}");
}

TEST(Config, AbsentFieldsHaveTheirDefaults) {
  const LlamaConfig config = ParseWith("").value();
  EXPECT_EQ(config.kv_heads, 4U);
  EXPECT_EQ(config.head_size, 16U);
  EXPECT_EQ(config.rms_norm_epsilon, 1e-6F);
  EXPECT_EQ(config.rotary.base, 10000.0);
  EXPECT_EQ(config.rotary.scaling, RotaryScaling::kNone);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_FALSE(config.qkv_bias);
}

TEST(Config, ReadsTheTinyModel) {
  const LlamaConfig config = ReadConfig(kModelFolder).value();
  EXPECT_EQ(config.layers, 6U);
  EXPECT_EQ(config.heads, 4U);
  EXPECT_EQ(config.kv_heads, 2U);
  EXPECT_EQ(config.head_size, 64U);
  EXPECT_EQ(config.rotary.base, 100000.0);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST(Config, Qwen2HasBiasesThatItsFileDoesNotName) {
  std::string text(kPlain);
  text.replace(text.find("llama"), 5, "qwen2");
  const LlamaConfig config =
      ParseConfig(text + R"(, "sliding_window": 4096, "use_sliding_window": false})").value();
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.output_bias);
}

TEST(Config, ReadsBothWaysOfWritingTheRotaryScaling) {
  const Rotary older = ParseWith(R"(, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3",
      "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192})")
                           .value()
                           .rotary;
  const Rotary newer = ParseWith(R"(, "rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3",
      "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192})")
                           .value()
                           .rotary;
  EXPECT_EQ(older, newer);
  EXPECT_EQ(older.scaling, RotaryScaling::kLlama3);
  EXPECT_EQ(older.base, 5e5);
  EXPECT_EQ(older.original_context, 8192.0);
}

TEST(Config, Llama3ScalingKeepsFastChannelsAndSlowsTheSlowOnes) {
  // Llama 3.1's own parameters.
  const Rotary rotary{.pairing = RotaryPairing::kNeox,
                      .scaling = RotaryScaling::kLlama3,
                      .dims = 128,
                      .base = 5e5,
                      .factor = 8.0,
                      .low_frequency_factor = 1.0,
                      .high_frequency_factor = 4.0,
                      .original_context = 8192.0};
  Rotary plain = rotary;
  plain.scaling = RotaryScaling::kNone;
  const auto scaled = InverseFrequencies(rotary);
  const auto unscaled = InverseFrequencies(plain);
  EXPECT_EQ(scaled.front(), unscaled.front());
  EXPECT_DOUBLE_EQ(scaled.back(), unscaled.back() / 8.0);
}

TEST(Config, RefusesWhatTheExecutorDoesNotCompute) {
  const char* const unsupported[] = {
      R"(, "hidden_act": "gelu")",
      R"(, "mlp_bias": true)",
      R"(, "sliding_window": 4096)",
      R"(, "quantization_config": {"bits": 4})",
      R"(, "partial_rotary_factor": 0.5)",
      R"(, "rope_scaling": {"rope_type": "yarn", "factor": 4.0})",
      R"(, "rope_scaling": {"type": "dynamic", "factor": 4.0})",
      R"(, "rope_scaling": {"rope_type": "longrope"})",
      R"(, "model_type": "gemma")",
  };
  for (const char* more : unsupported) {
    const auto config = ParseWith(more);
    ASSERT_FALSE(config.has_value()) << more;
    EXPECT_EQ(config.error().code(), Code::kUnimplemented) << more;
  }
}

TEST(Config, RefusesFieldsOutOfBoundsAndNamesThem) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"(, "hidden_size": 0)", "hidden_size"},
      {R"(, "hidden_size": -4)", "hidden_size"},
      {R"(, "hidden_size": "64")", "hidden_size"},
      {R"(, "hidden_size": 1e9)", "hidden_size"},
      {R"(, "vocab_size": 99999999999999)", "vocab_size"},
      {R"(, "num_hidden_layers": 4294967297)", "num_hidden_layers"},
      {R"(, "num_key_value_heads": 3)", "num_key_value_heads"},
      {R"(, "head_dim": 15)", "head_dim"},
      {R"(, "rms_norm_eps": -1)", "rms_norm_eps"},
      {R"(, "rope_theta": 0)", "rope_theta"},
      {R"(, "rope_scaling": 4)", "rope_scaling"},
      {R"(, "rope_scaling": {"type": "linear"})", "factor"},
      {R"(, "tie_word_embeddings": 1)", "tie_word_embeddings"},
      {R"(, "hidden_act": 1)", "hidden_act"},
  };
  for (const auto& [more, field] : wrong) {
    const auto config = ParseWith(more);
    ASSERT_FALSE(config.has_value()) << more;
    EXPECT_EQ(config.error().code(), Code::kInvalidArgument) << more;
    EXPECT_NE(config.error().message().find(field), std::string::npos) << config.error().message();
  }
}

TEST(Config, RefusesMissingFieldsAndWhatIsNoJson) {
  EXPECT_NE(ParseConfig(R"({"model_type": "llama"})").error().message().find("vocab_size"),
            std::string::npos);
  for (const char* text : {"", "[]", "{", "null"}) {
    EXPECT_EQ(ParseConfig(text).error().code(), Code::kInvalidArgument) << text;
  }
  EXPECT_EQ(ReadConfig("/nowhere").error().code(), Code::kNotFound);
}

TEST(Config, ModelSpecSaysWhatTheCacheHolds) {
  const LlamaConfig config = ReadConfig(kModelFolder).value();
  const ModelSpec spec = MakeModelSpec(config, DType::kBf16, "tiny", "r1");
  EXPECT_TRUE(ValidateModelSpec(spec).ok());
  EXPECT_EQ(LayerCount(spec), 6U);
  EXPECT_EQ(BytesPerToken(spec), 6U * 2 * 2 * 64 * 2);
  EXPECT_EQ(spec.rotary.dims, 64);
}

}  // namespace
}  // namespace kdn::llama
