// An engine's model as the client knows it.
//
// Thread-safety: immutable after construction.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "codec/object_codec.h"
#include "kdn/client.h"
#include "proto/object/chunk_key.h"

namespace kdn::client {

class Model {
 public:
  // kInvalidArgument for a spec or options out of bounds.
  static Result<std::unique_ptr<const Model>> Make(const ModelSpec& spec,
                                                   const ModelOptions& options);
  // A model whose objects are of another kind than chunks, and hold so many tokens each whatever
  // the client's chunk_tokens is (client/core/blob.h).
  static Result<std::unique_ptr<const Model>> MakeOfKind(const ModelSpec& spec, ObjectKind kind,
                                                         std::uint32_t chunk_tokens);

  [[nodiscard]] const ModelSpec& spec() const { return codec_.spec(); }
  [[nodiscard]] const ModelFingerprint& fingerprint() const { return fingerprint_; }
  [[nodiscard]] const ModelOptions& options() const { return options_; }
  [[nodiscard]] const codec::ObjectCodec& codec() const { return codec_; }
  [[nodiscard]] ObjectKind kind() const { return kind_; }
  // Tokens of a chunk, where the client's options say `usual`.
  [[nodiscard]] std::uint32_t ChunkTokensOr(std::uint32_t usual) const {
    return chunk_tokens_ == 0 ? usual : chunk_tokens_;
  }
  [[nodiscard]] std::uint32_t layer_count() const { return layer_count_; }
  [[nodiscard]] std::uint16_t kv_heads_max() const { return kv_heads_max_; }

  // Hashes chunk keys under `secret` for a request with these extras: the model's, then the
  // request's, each with its length.
  [[nodiscard]] ChunkHasher Hasher(const ChunkSecret& secret, ConstBytes request_extras) const;

 private:
  Model(codec::ObjectCodec codec, ModelOptions options);

  codec::ObjectCodec codec_;
  ModelOptions options_;
  ModelFingerprint fingerprint_;
  std::uint32_t layer_count_;
  std::uint16_t kv_heads_max_ = 0;
  ObjectKind kind_ = ObjectKind::kChunk;
  std::uint32_t chunk_tokens_ = 0;  // 0: as the client's options say
};

}  // namespace kdn::client
