// Queries, keys and values of held-out text in the small model of tests/models: what a lossy cache
// is judged on by what attention makes of it. Keys and values are bf16, as an engine keeps them,
// and attention reads them so.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/llama/config.h"
#include "client/llama/rotary.h"
#include "client/llama/tokenizer.h"
#include "client/llama/weights.h"
#include "proto/object/model_spec.h"
#include "tests/bench/level_chunks.h"

namespace kdn::bench {

// One text from position 0 on.
struct TextContext {
  // [layer][query head][token][dim], turned to their positions, not yet divided by a root.
  std::vector<float> queries;
  std::unique_ptr<ChunkMemory> kv;  // of all tokens

  [[nodiscard]] std::uint32_t tokens() const { return kv->tokens(); }
};

class TextModel {
 public:
  // Errors as ReadConfig(), ReadWeights() and Tokenizer::FromFile(); kDataLoss if its keys and
  // values are not those that tests/models recorded.
  static Result<std::unique_ptr<TextModel>> Load(const std::string& folder);

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] std::uint32_t query_heads() const { return config_.heads; }

  // The held-out text is cut into kContexts parts of equal length; this is the front of one of
  // them, behind the NUL that prompts begin with. Parts do not overlap.
  static constexpr std::size_t kContexts = 20;
  [[nodiscard]] TextContext Record(std::size_t part, std::uint32_t tokens) const;

 private:
  TextModel(llama::LlamaConfig config, llama::Weights weights);
  Status CheckAgainstRecorded(const std::string& folder) const;
  // Rows of one layer, [token][...].
  struct Rows;
  void Project(std::size_t layer, Rows& rows) const;
  void Keep(std::size_t layer, const Rows& rows, TextContext& context) const;
  void Attend(std::size_t layer, const TextContext& context, Rows& rows) const;
  void Finish(std::size_t layer, Rows& rows) const;
  void Normalise(const llama::AlignedFloats& weight, Rows& rows) const;

  llama::LlamaConfig config_;
  llama::Weights weights_;
  ModelSpec spec_;
  std::vector<llama::TokenId> text_;
  mutable llama::RotaryTable rotary_;
};

// One head's keys (plane 0) or values as floats, [token][dim].
[[nodiscard]] std::vector<float> HeadOf(const ChunkMemory& kv, std::size_t plane, std::size_t layer,
                                        std::size_t head);

// What attention reads where it judges `kv`, which may be a lossy copy of the context's: outputs
// [row][query head][dim] of the tokens kRowStride − 1, 2 · kRowStride − 1, ... in one layer.
inline constexpr std::uint32_t kRowStride = 16;
[[nodiscard]] std::vector<float> AttentionOutput(const TextContext& context, const ChunkMemory& kv,
                                                 std::uint32_t query_heads, std::size_t layer);

// |got − want| / |want| of the outputs of each layer, and their mean.
struct AttentionError {
  std::vector<double> by_layer;
  [[nodiscard]] double Mean() const;
};
class AttentionJudge {
 public:
  // Borrows the contexts.
  AttentionJudge(std::vector<const TextContext*> contexts, std::uint32_t query_heads);
  // `lossy`: one a context, of all its tokens or of the first of them. The mean over the contexts.
  [[nodiscard]] AttentionError Judge(const std::vector<const ChunkMemory*>& lossy) const;

 private:
  std::vector<const TextContext*> contexts_;
  std::uint32_t query_heads_;
  std::vector<std::vector<std::vector<float>>> wanted_;  // by context and layer
};

}  // namespace kdn::bench
