// The built-in executor over a context whose KV went through the codec, beside the same context
// whose KV did not. Everything else is alike: the context is prefilled once, and what follows it is
// computed over either cache in steps of the same shape.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "client/llama/executor.h"
#include "client/llama/paged_cache.h"
#include "client/llama/tokenizer.h"
#include "codec/codec_scratch.h"
#include "codec/object_codec.h"
#include "codec/profile.h"
#include "codec/profile_learner.h"

namespace kdn::bench {

class CodedContext {
 public:
  // `threads`: the executor's. `tokens_max`: of a context and what follows it. Errors as
  // llama::Executor::Load().
  static Result<std::unique_ptr<CodedContext>> Open(const std::string& model_folder,
                                                    std::size_t threads, std::uint32_t tokens_max);

  // Computes the context's KV. The steps below are about the last context.
  Status Prefill(std::span<const llama::TokenId> context);

  // Codes its KV in chunks of 256 tokens at draft, standard and fine, with a profile or without.
  Status Encode(const codec::Profile* profile);
  // Puts what the last Encode() wrote, up to `level`, where ContinueCoded() finds it.
  Status Decode(Level level);

  // Logits of all `tokens` behind the context, whose KV is as prefilled or as decoded; valid until
  // the next call.
  Result<std::span<const float>> Continue(std::span<const llama::TokenId> tokens) {
    return ContinueOver(plain_, tokens);
  }
  Result<std::span<const float>> ContinueCoded(std::span<const llama::TokenId> tokens) {
    return ContinueOver(coded_, tokens);
  }

  // Counts the context's KV for a profile.
  Status Teach(codec::ProfileLearner& learner);

  // Of the last Encode(), up to `level`: tiles and indices, without headers.
  [[nodiscard]] std::size_t CodedBytes(Level level) const;
  [[nodiscard]] std::size_t Values() const;  // of the context's KV
  // The KV that ContinueCoded() works on, of all contexts' tokens and of what followed them.
  [[nodiscard]] ConstBytes CodedKv() { return coded_.cache.memory(); }

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const llama::LlamaConfig& config() const { return executor_->config(); }

 private:
  struct Sequence {
    llama::PagedCache cache;
    llama::BlockTable blocks;
  };
  // One chunk's object, with its tiles place by place, draft first.
  struct Chunk {
    codec::ChunkPlace place;
    ObjectHeader header;
    std::vector<std::byte> object;
    std::vector<std::vector<codec::TileBytes>> tiles;
  };
  CodedContext(std::unique_ptr<llama::Executor> executor, ModelSpec spec, codec::ObjectCodec codec,
               Sequence plain, Sequence coded);
  Result<std::span<const float>> ContinueOver(Sequence& over,
                                              std::span<const llama::TokenId> tokens);
  Status OpenObject(Chunk& chunk);

  std::unique_ptr<llama::Executor> executor_;
  ModelSpec spec_;
  codec::ObjectCodec codec_;
  Sequence plain_;
  Sequence coded_;
  std::uint32_t tokens_ = 0;  // of the context
  std::vector<Chunk> chunks_;
  const codec::Profile* profile_ = nullptr;  // of the last Encode()
  codec::CodecScratch scratch_;
};

}  // namespace kdn::bench
