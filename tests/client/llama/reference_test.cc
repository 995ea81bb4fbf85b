// Goal: the executor computes what PyTorch computes from the same weights in double precision
// (tests/models/README.md), to 1e-4 of the largest value: logits, and keys and values of the last
// layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

constexpr double kTolerance = 1e-4;
constexpr PagedCacheOptions kFp32Cache = {
    .block_count = 80, .layout = KvLayout::kNhd, .dtype = DType::kFp32};

// As (heads, tokens, head size), which is how the reference holds them.
std::vector<float> ReadPlane(const PagedCache& cache, std::span<const std::uint32_t> blocks,
                             Plane plane, std::uint32_t layer, std::uint32_t tokens) {
  std::vector<float> values;
  for (std::uint32_t head = 0; head < cache.kv_heads(); ++head) {
    for (std::uint32_t token = 0; token < tokens; ++token) {
      const auto* from = reinterpret_cast<const float*>(
          cache.Values(layer, plane, head, blocks[token / 16], token % 16));
      values.insert(values.end(), from, from + cache.head_size());
    }
  }
  return values;
}

class ReferencePrompt : public testing::TestWithParam<int> {
 protected:
  ReferencePrompt() : file_(*SafetensorsFile::Open(kModelFolder + "/reference.safetensors")) {
    for (const std::int32_t id : ReadTensor<std::int32_t>(file_, Name("ids"))) {
      ids_.push_back(static_cast<TokenId>(id));
    }
  }
  static std::string Name(const char* what) { return std::to_string(GetParam()) + "." + what; }

  SafetensorsFile file_;
  std::vector<TokenId> ids_;
  std::unique_ptr<Executor> executor_ = LoadModel();
  PagedCache cache_ = MakeCache(*executor_, kFp32Cache);
  std::vector<std::uint32_t> blocks_ = ScatteredBlocks(kFp32Cache.block_count);
};

TEST_P(ReferencePrompt, LogitsAgreeWithPyTorch) {
  const std::vector<float> want = ReadTensor<float>(file_, Name("logits"));
  const bool all = want.size() > executor_->config().vocab_size;
  const auto got = executor_->Prefill(ids_, 0, {cache_, blocks_}, {.hooks = {}, .all_logits = all});
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_LT(Deviation(*got, want), kTolerance);
}

TEST_P(ReferencePrompt, KeysAndValuesOfTheLastLayerAgreeWithPyTorch) {
  ASSERT_TRUE(executor_->Prefill(ids_, 0, {cache_, blocks_}).has_value());
  const std::uint32_t last = executor_->config().layers - 1;
  const auto tokens = static_cast<std::uint32_t>(ids_.size());
  EXPECT_LT(Deviation(ReadPlane(cache_, blocks_, Plane::kK, last, tokens),
                      ReadTensor<float>(file_, Name("k"))),
            kTolerance);
  EXPECT_LT(Deviation(ReadPlane(cache_, blocks_, Plane::kV, last, tokens),
                      ReadTensor<float>(file_, Name("v"))),
            kTolerance);
}

TEST_P(ReferencePrompt, EveryInstructionSetAgreesWithPyTorch) {
  const std::vector<float> want = ReadTensor<float>(file_, Name("logits"));
  const std::size_t vocabulary = executor_->config().vocab_size;
  for (const Kernels* kernels : SupportedKernels()) {
    const auto executor = LoadModel({.threads = 1, .kernels = kernels->name});
    const auto got = executor->Prefill(ids_, 0, {cache_, blocks_});
    ASSERT_TRUE(got.has_value());
    EXPECT_LT(Deviation(*got, std::span(want).last(vocabulary)), kTolerance) << kernels->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, ReferencePrompt, testing::Values(1, 17, 256, 300, 1024),
                         [](const auto& param) { return std::to_string(param.param) + "tokens"; });

}  // namespace
}  // namespace kdn::llama
