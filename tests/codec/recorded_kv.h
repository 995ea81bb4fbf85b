// The KV cache of held-out text that tests/models records (tests/models/README.md), as memory that
// an engine might have: one block of all tokens.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "proto/object/header.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

class RecordedKv {
 public:
  // Reads tests/models/tiny/kv_heldout.safetensors. kNotFound if it is not there.
  static Result<RecordedKv> Read();

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] std::uint32_t tokens() const { return tokens_; }

  // Encodes chunks of `chunk_tokens` with one layer and one head a tile, by the named kernels, and
  // returns bytes of values by bytes of objects, headers and indices counted.
  struct Sizes {
    std::size_t raw_bytes = 0;
    std::size_t object_bytes = 0;
    [[nodiscard]] double ratio() const {
      return static_cast<double>(raw_bytes) / static_cast<double>(object_bytes);
    }
  };
  [[nodiscard]] Sizes Encode(std::uint32_t chunk_tokens, std::uint16_t layers_per_group,
                             std::uint16_t heads_per_group) const;

  // The object of the chunk that begins at `first_token`.
  [[nodiscard]] std::vector<std::byte> EncodeChunk(const ObjectHeader& header,
                                                   std::uint32_t first_token) const;
  [[nodiscard]] ObjectHeader HeaderFor(std::uint32_t chunk_tokens, std::uint16_t layers_per_group,
                                       std::uint16_t heads_per_group) const;

 private:
  RecordedKv() = default;
  ModelSpec spec_;
  std::uint32_t tokens_ = 0;
  std::vector<std::byte> k_;
  std::vector<std::byte> v_;
};

}  // namespace kdn::codec
