// What a Hugging Face config.json says of a Llama-architecture model, as far as computing with it
// needs. Knows nothing of weights or of caches.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/object/model_spec.h"

namespace kdn::llama {

struct LlamaConfig {
  std::uint32_t vocab_size = 0;
  std::uint32_t hidden_size = 0;
  std::uint32_t intermediate_size = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;     // of queries
  std::uint32_t kv_heads = 0;  // divides heads
  std::uint32_t head_size = 0;
  std::uint32_t positions_max = 0;
  float rms_norm_epsilon = 0.0F;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // on the attention's output projection
  Rotary rotary;             // always kNeox over the whole head

  [[nodiscard]] std::uint32_t query_width() const { return heads * head_size; }
  [[nodiscard]] std::uint32_t kv_width() const { return kv_heads * head_size; }
  [[nodiscard]] std::uint32_t qkv_width() const { return query_width() + 2 * kv_width(); }
};

// Reads the text of a config.json. kInvalidArgument names the field that is missing or out of
// bounds; kUnimplemented names what this executor does not compute (another activation, a rotary
// scaling beyond none, linear and llama3, sliding windows, quantised weights).
[[nodiscard]] Result<LlamaConfig> ParseConfig(std::string_view text);

// ParseConfig() of folder/config.json; kNotFound if there is none.
[[nodiscard]] Result<LlamaConfig> ReadConfig(const std::string& folder);

// The model as the cluster knows it. `revision` must change whenever the weights do: it is part of
// every chunk's identity.
[[nodiscard]] ModelSpec MakeModelSpec(const LlamaConfig& config, DType kv_dtype, std::string name,
                                      std::string revision);

}  // namespace kdn::llama
