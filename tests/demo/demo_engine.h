// A small inference engine with a KDN client: the built-in executor, a tokenizer and paged KV
// caches, put together as an engine's connector does it. The demo, tests and benchmarks ask it the
// same question twice, once with the past recomputed and once with it fetched.
//
// Knows nothing of where the client's storage is: a cluster or this process.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/llama/executor.h"
#include "client/llama/paged_cache.h"
#include "client/llama/tokenizer.h"
#include "kdn/client.h"

namespace kdn::demo {

using llama::TokenId;

struct EngineOptions {
  std::string model_folder;
  std::size_t threads = 0;            // of the executor; 0: as many as the machine has cores
  client::ModelOptions tiles = {};    // how this engine cuts what it stores
  std::uint32_t cache_tokens = 3072;  // of each cache: the longest prompt with its answer
};

// What happens to the past of a question.
enum class How : std::uint8_t { kRecompute, kFetch };

struct AskOptions {
  How how = How::kFetch;
  std::uint16_t readers = 1;  // ranks that load a share of the KV heads each
  // This model's layers take less time to compute than to wait for one by one.
  client::LoadOrder order = client::LoadOrder::kChunkByChunk;
  std::size_t answer_tokens = 12;  // at most; a line's end ends it sooner
};

// Bits are comparable: two answers to one prompt are equal if logits and text are.
struct Answer {
  std::vector<float> logits;  // of the prompt's last token
  std::string text;
  double first_token_ms = 0.0;  // from the request to the logits, all of these included:
  double lookup_ms = 0.0;
  double load_ms = 0.0;     // until all of it was in the cache, since the lookup's end
  double prefill_ms = 0.0;  // with its waits for layers under way
  std::uint64_t prompt_tokens = 0;
  std::uint64_t hit_tokens = 0;  // at the front, taken from the store
  std::uint64_t bytes = 0;       // received for them
  std::string tier;
  std::uint32_t replicas_failed_over = 0;
};

[[nodiscard]] bool SameBits(const Answer& a, const Answer& b);

class Engine {
 public:
  // `client` is borrowed for life. Errors as Executor::Load() and Client::UseModel().
  static Result<std::unique_ptr<Engine>> Open(const EngineOptions& options, client::Client& client);

  // The prompt's tokens: the model's texts begin with a NUL.
  [[nodiscard]] std::vector<TokenId> TokensOf(std::string_view document) const;
  // TokensOf(document) with the question's tokens behind them: a question changes none of the
  // document's tokens.
  [[nodiscard]] std::vector<TokenId> PromptOf(std::string_view document,
                                              std::string_view question) const;

  // Prefills `tokens` and stores their full chunks under a name, as `writers` ranks with a share of
  // the KV heads each; returns when the cluster has them, or the code that says why it has not.
  Result<client::StoreReport> Remember(std::string_view name, std::span<const TokenId> tokens,
                                       std::uint16_t writers = 1);

  // Answers over a fresh, poisoned cache. What cannot be fetched is recomputed: Answer::hit_tokens
  // tells how much was not.
  Result<Answer> Ask(std::span<const TokenId> prompt, const AskOptions& options);

  // Milliseconds that a prefill of prompt[first_position, end) takes over the past before it,
  // which is computed first and not counted.
  Result<double> PrefillMs(std::span<const TokenId> prompt, std::uint64_t first_position);

  // Waits for the coordinator, and touches what the first request of an engine touches first.
  Status WarmUp();

  [[nodiscard]] std::uint64_t chunk_tokens() const { return llama::kStepTokens; }

 private:
  struct Sequence {
    llama::PagedCache cache;
    llama::BlockTable table;
  };
  struct Fetch;

  Engine(std::unique_ptr<llama::Executor> executor, llama::Tokenizer tokenizer,
         const EngineOptions& options, client::Client& client);
  Result<Sequence> NewSequence(std::size_t token_count);
  Status StartFetch(std::span<const TokenId> prompt, const AskOptions& options, Sequence& sequence,
                    Fetch& fetch);
  Result<std::span<const float>> PrefillBehind(Fetch& fetch, std::span<const TokenId> prompt,
                                               const AskOptions& options, Sequence& sequence);

  EngineOptions options_;
  client::Client& client_;
  const client::Model* model_ = nullptr;
  std::unique_ptr<llama::Executor> executor_;
  llama::Tokenizer tokenizer_;
};

}  // namespace kdn::demo
