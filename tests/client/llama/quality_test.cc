// Goal: with the executor's own arithmetic and KV held in bf16, the tiny model is worth what its
// card says: at most 2.0 bits per byte on held-out text, at least 95 % of direct facts over 6
// documents.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

constexpr double kBitsPerByteMax = 2.0;
constexpr double kDirectFactsMin = 0.95;
constexpr int kQuestions = 160;

class Quality : public testing::Test {
 protected:
  // −log2 of the probability of each token behind the first.
  double Bits(std::span<const TokenId> tokens) {
    const auto logits = executor_->Prefill(tokens.first(tokens.size() - 1), 0, {cache_, blocks_},
                                           {.hooks = {}, .all_logits = true});
    EXPECT_TRUE(logits.has_value()) << logits.error().ToString();
    const std::size_t vocabulary = executor_->config().vocab_size;
    double bits = 0.0;
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      const auto row = logits->subspan((i - 1) * vocabulary, vocabulary);
      const double max = *std::ranges::max_element(row);
      double sum = 0.0;
      for (const float logit : row) sum += std::exp(double{logit} - max);
      bits += (std::log(sum) + max - double{row[tokens[i]]}) / std::log(2.0);
    }
    return bits;
  }

  static constexpr std::uint32_t kBlocks = 256;
  std::unique_ptr<Executor> executor_ = LoadModel();
  PagedCache cache_ = MakeCache(*executor_, {.block_count = kBlocks});
  std::vector<std::uint32_t> blocks_ = ScatteredBlocks(kBlocks);
  Tokenizer tokenizer_ = Tokenizer::FromFile(kModelFolder + "/vocab.txt").value();
};

TEST_F(Quality, HeldOutTextCostsAtMostTwoBitsPerByte) {
  const std::vector<TokenId> ids = tokenizer_.Encode(HeldOutText());
  constexpr std::size_t kLength = 1024;
  double bits = 0.0;
  std::size_t bytes = 0;
  for (std::size_t first = 0; first + kLength < ids.size(); first += 6 * kLength) {
    const auto tokens = std::span(ids).subspan(first, kLength + 1);
    bits += Bits(tokens);
    bytes += tokenizer_.Decode(tokens.subspan(1)).value().size();
  }
  ASSERT_GT(bytes, 30000U);
  std::printf("bits per byte over windows of %zu tokens: %.3f\n", kLength,
              bits / static_cast<double>(bytes));
  EXPECT_LE(bits / static_cast<double>(bytes), kBitsPerByteMax);
}

TEST_F(Quality, DirectFactsOfSixDocumentsAreRecalled) {
  std::ifstream file(kModelFolder + "/questions.jsonl");
  int asked = 0;
  int right = 0;
  for (std::string line; asked < kQuestions && std::getline(file, line);) {
    const auto entry = nlohmann::json::parse(line);
    if (entry["hops"] != 0) continue;
    std::vector<TokenId> prompt = {0};
    const auto append = [&](const std::string& text) {
      const std::vector<TokenId> ids = tokenizer_.Encode(text);
      prompt.insert(prompt.end(), ids.begin(), ids.end());
    };
    ASSERT_EQ(entry["documents"].size(), 6U);
    for (const auto& document : entry["documents"]) append(document.get<std::string>());
    append(entry["question"].get<std::string>());
    const auto logits = executor_->Prefill(prompt, 0, {cache_, blocks_});
    ASSERT_TRUE(logits.has_value());
    ++asked;
    right += tokenizer_.bytes(Likeliest(*logits)) == entry["answer"].get<std::string>() ? 1 : 0;
  }
  ASSERT_EQ(asked, kQuestions);
  std::printf("direct facts: %d of %d\n", right, asked);
  EXPECT_GE(static_cast<double>(right) / asked, kDirectFactsMin);
}

}  // namespace
}  // namespace kdn::llama
