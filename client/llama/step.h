// One step through the model: up to 256 consecutive tokens of one sequence, whose K and V are
// written to the paged cache and whose attention reads everything, their own K and V too, back from
// there. So what a step computes depends on the cached values alone, never on how they came to be.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "client/llama/aligned.h"
#include "client/llama/config.h"
#include "client/llama/kernels/kernels.h"
#include "client/llama/paged_cache.h"
#include "client/llama/rotary.h"
#include "client/llama/tokenizer.h"
#include "client/llama/weights.h"
#include "client/llama/workers.h"

namespace kdn::llama {

// Steps end at absolute multiples of this.
inline constexpr std::uint32_t kStepTokens = 256;

struct LayerHooks {
  // Before a step's layer reads or writes the cache: where a load that completes layer by layer is
  // waited for. An error ends the prefill and is what it returns.
  std::function<Status(std::uint32_t layer)> before_layer = {};
  // After a layer's K and V of these tokens stand in the cache.
  std::function<void(std::uint32_t layer, std::uint64_t first_position, std::uint32_t count)>
      after_layer_kv = {};
};

// Requires, of all of it: checked by the Executor.
struct Step {
  std::span<const TokenId> tokens;  // 1 to kStepTokens, crossing no multiple of kStepTokens
  std::uint64_t first_position = 0;
  PagedCache* cache = nullptr;
  std::span<const std::uint32_t> blocks;

  [[nodiscard]] std::size_t rows() const { return tokens.size(); }
};

class StepRunner {
 public:
  // Borrows all of them for life.
  StepRunner(const LlamaConfig& config, const Weights& weights, const Kernels& kernels,
             Workers& workers);

  // Leaves the step's hidden states for Logits(). Errors are before_layer's only.
  Status Run(const Step& step, const LayerHooks& hooks);

  // Logits of `rows` rows of the last step from `first_row` on, vocab_size each.
  void Logits(std::size_t first_row, std::size_t rows, float* out);

 private:
  struct AttentionScratch {
    AlignedFloats queries;  // [row][head size], rows of one KV head's query heads
    AlignedFloats scores;   // [row][kStepTokens]
    AlignedFloats sums;     // [row][head size]
    AlignedFloats panel;    // [kStepTokens][head size] of K, then of V
    std::vector<SoftmaxState> softmax;
  };

  template <class Body>
  void ForEach(std::size_t item_count, const Body& body);
  void Embed(const Step& step);
  void Norm(std::size_t rows, const AlignedFloats& weight);
  void QueriesKeysValues(const Step& step, const LayerWeights& layer);
  void WriteKv(const Step& step, std::uint32_t layer);
  void WriteRow(const Step& step, std::uint32_t layer, std::size_t row, float* rotated);
  void Attend(const Step& step, std::uint32_t layer);
  void AttendTile(const Step& step, std::uint32_t layer, std::uint32_t kv_head,
                  std::size_t first_row, AttentionScratch& scratch);
  void ReadPanel(const Step& step, std::uint32_t layer, Plane plane, std::uint32_t kv_head,
                 std::span<const std::uint64_t, 2> range, float* panel) const;
  void AddOutput(std::size_t rows, const LayerWeights& layer);
  void AddMlp(std::size_t rows, const LayerWeights& layer);

  const LlamaConfig& config_;
  const Weights& weights_;
  const Kernels& kernels_;
  Workers& workers_;
  RotaryTable rotary_;
  std::uint32_t group_;        // query heads of one KV head
  std::uint32_t tile_tokens_;  // of one attention item
  bool parallel_ = false;      // whether the step is large enough to share
  // [row][...] of the step.
  AlignedFloats hidden_;
  AlignedFloats normed_;
  AlignedFloats qkv_;
  AlignedFloats attended_;
  AlignedFloats gate_up_;
  AlignedFloats activated_;
  std::vector<AttentionScratch> scratch_;  // by thread
};

}  // namespace kdn::llama
