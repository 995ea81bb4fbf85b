// Writes folders with small models of any shape, weights drawn at random, for what the trained
// model does not have: biases, an output matrix of its own, scaled rotary positions, odd sizes.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kdn::llama {

struct SyntheticModel {
  std::string model_type = "llama";
  std::string weight_type = "F32";  // or "BF16", "F16"
  std::uint32_t vocab_size = 67;
  std::uint32_t hidden_size = 36;
  std::uint32_t intermediate_size = 52;
  std::uint32_t layers = 2;
  std::uint32_t heads = 3;
  std::uint32_t kv_heads = 1;
  std::uint32_t head_size = 10;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;
  std::string rope_scaling = "null";  // JSON
};

// Writes config.json and model.safetensors into an existing folder.
void WriteModel(const SyntheticModel& model, const std::string& folder);

// A safetensors file of this header (JSON) and these bytes.
[[nodiscard]] std::string SafetensorsImage(std::string_view header, std::string_view data);
void WriteFile(const std::string& path, std::string_view content);

}  // namespace kdn::llama
