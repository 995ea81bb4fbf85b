#include "tests/client/llama/synthetic_model.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

namespace kdn::llama {
namespace {

using nlohmann::json;

// Appends a value in the file's type. Only values that all three types hold exactly are drawn:
// whole multiples of 1/128 below 1.
void AppendValue(const std::string& type, float value, std::string& data) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  if (type == "F32") {
    data.append(reinterpret_cast<const char*>(&bits), 4);
    return;
  }
  auto narrow = static_cast<std::uint16_t>(bits >> 16);
  if (type == "F16") {
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    narrow = static_cast<std::uint16_t>(
        sign | (magnitude == 0 ? 0 : (magnitude >> 13) - ((127U - 15U) << 10)));
  }
  data.append(reinterpret_cast<const char*>(&narrow), 2);
}

class TensorWriter {
 public:
  explicit TensorWriter(std::string type) : type_(std::move(type)) {}

  void Add(const std::string& name, std::vector<std::uint32_t> shape, float center, float spread) {
    std::size_t count = 1;
    for (const std::uint32_t size : shape) count *= size;
    const std::size_t first = data_.size();
    std::uniform_real_distribution<float> uniform(-spread, spread);
    for (std::size_t i = 0; i < count; ++i) {
      AppendValue(type_, std::round((center + uniform(random_)) * 128.0F) / 128.0F, data_);
    }
    header_[name] = {{"dtype", type_}, {"shape", shape}, {"data_offsets", {first, data_.size()}}};
  }
  [[nodiscard]] std::string Image() const { return SafetensorsImage(header_.dump(), data_); }

 private:
  std::string type_;
  json header_ = {{"__metadata__", {{"format", "pt"}}}};
  std::string data_;
  std::mt19937 random_{17};
};

std::string ConfigText(const SyntheticModel& m) {
  return json{{"model_type", m.model_type},
              {"hidden_act", "silu"},
              {"vocab_size", m.vocab_size},
              {"hidden_size", m.hidden_size},
              {"intermediate_size", m.intermediate_size},
              {"num_hidden_layers", m.layers},
              {"num_attention_heads", m.heads},
              {"num_key_value_heads", m.kv_heads},
              {"head_dim", m.head_size},
              {"max_position_embeddings", 512},
              {"rms_norm_eps", 1e-5},
              {"rope_theta", 10000.0},
              {"rope_scaling", json::parse(m.rope_scaling)},
              {"tie_word_embeddings", m.tied_embeddings},
              {"attention_bias", m.output_bias}}
      .dump(2);
}

}  // namespace

std::string SafetensorsImage(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string image(reinterpret_cast<const char*>(&length), sizeof(length));
  image += header;
  image += data;
  return image;
}

void WriteFile(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

void WriteModel(const SyntheticModel& m, const std::string& folder) {
  TensorWriter tensors(m.weight_type);
  const std::uint32_t queries = m.heads * m.head_size;
  const std::uint32_t kv = m.kv_heads * m.head_size;
  tensors.Add("model.embed_tokens.weight", {m.vocab_size, m.hidden_size}, 0.0F, 1.0F);
  if (!m.tied_embeddings) tensors.Add("lm_head.weight", {m.vocab_size, m.hidden_size}, 0.0F, 0.5F);
  tensors.Add("model.norm.weight", {m.hidden_size}, 0.5F, 0.4F);
  for (std::uint32_t layer = 0; layer < m.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    tensors.Add(prefix + "input_layernorm.weight", {m.hidden_size}, 0.5F, 0.4F);
    tensors.Add(prefix + "post_attention_layernorm.weight", {m.hidden_size}, 0.5F, 0.4F);
    const std::pair<const char*, std::uint32_t> parts[] = {{"q", queries}, {"k", kv}, {"v", kv}};
    for (const auto& [name, rows] : parts) {
      const std::string stem = prefix + "self_attn." + name + "_proj.";
      tensors.Add(stem + "weight", {rows, m.hidden_size}, 0.0F, 0.4F);
      if (m.qkv_bias) tensors.Add(stem + "bias", {rows}, 0.0F, 0.9F);
    }
    tensors.Add(prefix + "self_attn.o_proj.weight", {m.hidden_size, queries}, 0.0F, 0.4F);
    if (m.output_bias) {
      tensors.Add(prefix + "self_attn.o_proj.bias", {m.hidden_size}, 0.0F, 0.9F);
    }
    tensors.Add(prefix + "mlp.gate_proj.weight", {m.intermediate_size, m.hidden_size}, 0.0F, 0.4F);
    tensors.Add(prefix + "mlp.up_proj.weight", {m.intermediate_size, m.hidden_size}, 0.0F, 0.4F);
    tensors.Add(prefix + "mlp.down_proj.weight", {m.hidden_size, m.intermediate_size}, 0.0F, 0.4F);
  }
  WriteFile(folder + "/config.json", ConfigText(m));
  WriteFile(folder + "/model.safetensors", tensors.Image());
}

}  // namespace kdn::llama
