// The built-in executor: a Llama-architecture model on the CPU, prefill and greedy decoding over a
// paged KV cache. It stands for an engine in the demo, in tests and benchmarks.
//
// Knows nothing of KDN's client: what an engine shows to a client is its PagedCache (as
// codec::PagedKv and a block table) and its model spec, and what it does with a client is to load
// before it prefills and to store afterwards.
//
// Bits. Arithmetic is fp32; K and V are rounded to the cache's type when they are written and read
// back from there. Prefill runs in steps that end at absolute multiples of kStepTokens, and a
// step's results depend on its tokens, its place and the cached past alone, bit for bit: not on the
// number of threads, the cache's layout or blocks, nor on who wrote the past. So whoever resumes at
// a multiple of kStepTokens over the same cached past gets the very bits of a prefill from 0. One
// who resumes elsewhere runs a first step of another shape, which is as exact but may differ in
// last bits. On another CPU all bits may differ.
//
// Thread-safety: not safe; caller synchronises. Executors in one process share OpenBLAS, which the
// first of them sets to a single thread of its own for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/llama/config.h"
#include "client/llama/kernels/kernels.h"
#include "client/llama/paged_cache.h"
#include "client/llama/step.h"
#include "client/llama/tokenizer.h"
#include "client/llama/weights.h"
#include "client/llama/workers.h"

namespace kdn::llama {

struct ExecutorOptions {
  std::size_t threads = 0;        // 0: as many as the machine has cores, 16 at most
  std::string_view kernels = {};  // by name; empty: the fastest this CPU runs
};

struct PrefillOptions {
  LayerHooks hooks = {};    // called for every step, layer by layer
  bool all_logits = false;  // of every token instead of the last: for evaluation
};

// A sequence's place in a cache: block ids in token order, as BlockTable::blocks().
struct SequenceKv {
  PagedCache& cache;
  std::span<const std::uint32_t> blocks;
};

class Executor {
 public:
  // Reads a Hugging Face style folder: config.json and model.safetensors. Errors as ReadConfig()
  // and ReadWeights(); kInvalidArgument for more than 256 threads.
  static Result<std::unique_ptr<Executor>> Load(const std::string& folder,
                                                const ExecutorOptions& options = {});

  // Computes tokens at first_position and after, over the past [0, first_position) that the cache
  // must hold, and writes their K and V. Returns vocab_size logits of the last token, or with
  // all_logits tokens.size() × vocab_size; valid until the next call.
  //
  // kInvalidArgument for no tokens, a token id that is none, a cache of another shape or a block
  // table that is too short or names blocks the cache lacks; kOutOfRange beyond positions_max; what
  // hooks.before_layer returned. After such an error of a hook, K and V of tokens not yet reached
  // are as they were.
  Result<std::span<const float>> Prefill(std::span<const TokenId> tokens,
                                         std::uint64_t first_position, const SequenceKv& kv,
                                         const PrefillOptions& options = {});

  // Computes one token at `position` and returns the likeliest next. Errors as Prefill().
  Result<TokenId> Decode(TokenId token, std::uint64_t position, const SequenceKv& kv);

  // Decodes up to `count` tokens, the first of which is the likeliest after `logits` (a
  // Prefill()'s) and stands at `position`; ends early behind a `stop` token, which is returned too.
  // The last token's K and V are not computed. Errors as Prefill().
  Result<std::vector<TokenId>> Generate(std::span<const float> logits, std::uint64_t position,
                                        const SequenceKv& kv, std::size_t count, TokenId stop);

  [[nodiscard]] const LlamaConfig& config() const { return config_; }
  [[nodiscard]] std::size_t thread_count() const { return workers_.thread_count(); }
  [[nodiscard]] std::string_view kernels() const { return kernels_.name; }

 private:
  Executor(const LlamaConfig& config, Weights weights, const Kernels& kernels,
           std::size_t thread_count);
  [[nodiscard]] Status Check(std::span<const TokenId> tokens, std::uint64_t first_position,
                             const SequenceKv& kv) const;

  LlamaConfig config_;
  Weights weights_;
  const Kernels& kernels_;
  Workers workers_;
  StepRunner runner_;
  std::vector<float> logits_;
};

// Index of the greatest; the first of equals. Requires: not empty.
[[nodiscard]] TokenId Likeliest(std::span<const float> logits);

}  // namespace kdn::llama
