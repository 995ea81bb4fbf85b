#include "tests/client/llama/naive_llama.h"

#include <cmath>
#include <cstddef>
#include <numbers>

#include "client/llama/safetensors.h"

namespace kdn::llama {
namespace {

using Row = std::vector<double>;

class NaiveLlama {
 public:
  NaiveLlama(const std::string& folder, const LlamaConfig& config)
      : config_(config),
        file_(SafetensorsFile::Open(folder + "/model.safetensors").value()),
        keys_(config.layers),
        values_(config.layers) {}

  Row NextLogits(TokenId token) {
    const Row embedding = Tensor("model.embed_tokens.weight");
    const std::size_t width = config_.hidden_size;
    const auto begin = embedding.begin() + static_cast<std::ptrdiff_t>(token * width);
    Row x(begin, begin + static_cast<std::ptrdiff_t>(width));
    for (std::size_t layer = 0; layer < config_.layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      AddTo(x, Attention(layer, prefix, Norm(x, prefix + "input_layernorm.weight")));
      AddTo(x, Mlp(prefix, Norm(x, prefix + "post_attention_layernorm.weight")));
    }
    ++position_;
    const Row normed = Norm(x, "model.norm.weight");
    return Times(config_.tied_embeddings ? embedding : Tensor("lm_head.weight"), normed);
  }

 private:
  Row Tensor(const std::string& name) const {
    const TensorInfo* info = file_.Find(name);
    if (info == nullptr) return {};
    std::vector<float> values(info->value_count);
    return file_.ReadFloats(name, info->shape, values).ok() ? Row(values.begin(), values.end())
                                                            : Row();
  }
  static Row Times(const Row& matrix, const Row& x) {
    Row out(matrix.size() / x.size());
    for (std::size_t i = 0; i < matrix.size(); ++i)
      out[i / x.size()] += matrix[i] * x[i % x.size()];
    return out;
  }
  Row Linear(const std::string& stem, const Row& x) const {
    Row out = Times(Tensor(stem + ".weight"), x);
    const Row bias = Tensor(stem + ".bias");
    for (std::size_t i = 0; i < bias.size(); ++i) out[i] += bias[i];
    return out;
  }
  static void AddTo(Row& x, const Row& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  Row Norm(Row x, const std::string& name) const {
    double squares = 0.0;
    for (const double value : x) squares += value * value;
    const double mean = squares / static_cast<double>(x.size());
    const Row weight = Tensor(name);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] *= weight[i] / std::sqrt(mean + static_cast<double>(config_.rms_norm_epsilon));
    }
    return x;
  }
  Row Mlp(const std::string& prefix, const Row& x) const {
    Row gate = Linear(prefix + "mlp.gate_proj", x);
    const Row up = Linear(prefix + "mlp.up_proj", x);
    for (std::size_t i = 0; i < up.size(); ++i) gate[i] *= up[i] / (1.0 + std::exp(-gate[i]));
    return Linear(prefix + "mlp.down_proj", gate);
  }
  // As transformers' modeling_rope_utils.py has it, written out once more.
  double Frequency(std::size_t i) const {
    const Rotary& r = config_.rotary;
    const double plain = 1.0 / std::pow(r.base, 2.0 * static_cast<double>(i) / config_.head_size);
    if (r.scaling == RotaryScaling::kLinear) return plain / r.factor;
    if (r.scaling != RotaryScaling::kLlama3) return plain;
    const double turns = r.original_context * plain / (2.0 * std::numbers::pi);
    if (turns < r.low_frequency_factor) return plain / r.factor;
    if (turns > r.high_frequency_factor) return plain;
    const double smooth =
        (turns - r.low_frequency_factor) / (r.high_frequency_factor - r.low_frequency_factor);
    return (1.0 - smooth) * plain / r.factor + smooth * plain;
  }
  void Rotate(Row& heads) const {
    const std::size_t half = config_.head_size / 2;
    for (std::size_t head = 0; head < heads.size(); head += 2 * half) {
      for (std::size_t i = head; i < head + half; ++i) {
        const double angle = static_cast<double>(position_) * Frequency(i - head);
        const double a = heads[i];
        const double b = heads[i + half];
        heads[i] = a * std::cos(angle) - b * std::sin(angle);
        heads[i + half] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
  Row Attention(std::size_t layer, const std::string& prefix, const Row& x) {
    Row q = Linear(prefix + "self_attn.q_proj", x);
    Row k = Linear(prefix + "self_attn.k_proj", x);
    Rotate(q);
    Rotate(k);
    keys_[layer].push_back(k);
    values_[layer].push_back(Linear(prefix + "self_attn.v_proj", x));
    const std::size_t size = config_.head_size;
    Row out(q.size());
    for (std::size_t head = 0; head < config_.heads; ++head) {
      const std::size_t kv = head / (config_.heads / config_.kv_heads) * size;
      double total = 0.0;
      for (std::size_t t = 0; t <= position_; ++t) {
        double score = 0.0;
        for (std::size_t i = 0; i < size; ++i)
          score += q[head * size + i] * keys_[layer][t][kv + i];
        const double weight = std::exp(score / std::sqrt(static_cast<double>(size)));
        total += weight;
        for (std::size_t i = 0; i < size; ++i) {
          out[head * size + i] += weight * values_[layer][t][kv + i];
        }
      }
      for (std::size_t i = 0; i < size; ++i) out[head * size + i] /= total;
    }
    return Linear(prefix + "self_attn.o_proj", out);
  }

  const LlamaConfig& config_;
  SafetensorsFile file_;
  std::size_t position_ = 0;
  std::vector<std::vector<Row>> keys_;  // by layer, then position
  std::vector<std::vector<Row>> values_;
};

}  // namespace

std::vector<double> NaiveLogits(const std::string& folder, const LlamaConfig& config,
                                std::span<const TokenId> tokens) {
  NaiveLlama model(folder, config);
  std::vector<double> logits;
  for (const TokenId token : tokens) {
    const Row row = model.NextLogits(token);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

}  // namespace kdn::llama
