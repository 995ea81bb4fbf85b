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

  [[nodiscard]] const ModelSpec& spec() const { return codec_.spec(); }
  [[nodiscard]] const ModelFingerprint& fingerprint() const { return fingerprint_; }
  [[nodiscard]] const ModelOptions& options() const { return options_; }
  [[nodiscard]] const codec::ObjectCodec& codec() const { return codec_; }
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
};

}  // namespace kdn::client
