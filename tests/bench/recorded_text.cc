#include "tests/bench/recorded_text.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

#include "client/llama/product.h"
#include "client/llama/safetensors.h"

namespace kdn::bench {
namespace {

using llama::Matrix;
using llama::Times;
using llama::TimesTransposed;

constexpr std::size_t kPanelRows = 128;  // of queries that attend together

// Rows of queries of one head at the positions `at`, ascending; keys and values [token][size].
// Writes out + r · stride.
void AttendRows(std::span<const float> queries, std::span<const std::uint32_t> at,
                std::span<const float> keys, std::span<const float> values, std::size_t size,
                float* out, std::size_t stride) {
  const auto factor = 1.0F / std::sqrt(static_cast<float>(size));
  std::vector<float> scores;
  for (std::size_t first = 0; first < at.size(); first += kPanelRows) {
    const std::size_t rows = std::min(kPanelRows, at.size() - first);
    const std::size_t seen = at[first + rows - 1] + 1;
    scores.resize(rows * seen);
    TimesTransposed({queries.data() + first * size, rows, size, size},
                    {keys.data(), seen, size, size}, {scores.data(), seen});
    for (std::size_t r = 0; r < rows; ++r) {
      const auto row = std::span(scores).subspan(r * seen, seen);
      const auto visible = row.first(at[first + r] + 1);
      const float largest = *std::ranges::max_element(visible);
      float sum = 0.0F;
      for (float& score : visible) sum += score = std::exp((score - largest) * factor);
      for (float& score : visible) score /= sum;
      std::ranges::fill(row.subspan(visible.size()), 0.0F);
    }
    Times({scores.data(), rows, seen, seen}, {values.data(), seen, size, size},
          {out + first * stride, stride});
  }
}

void Rotate(const float* turns, std::size_t half, float* x) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * turns[i] - b * turns[half + i];
    x[i + half] = b * turns[i] + a * turns[half + i];
  }
}

}  // namespace

std::vector<float> HeadOf(const ChunkMemory& kv, std::size_t plane, std::size_t layer,
                          std::size_t head) {
  const KvGroup& group = kv.spec().groups[0];
  const std::size_t count = std::size_t{kv.HeadSize(plane)} * kv.tokens();
  const auto words = kv.plane(plane).subspan((layer * group.kv_heads + head) * count, count);
  std::vector<float> floats(count);
  std::ranges::transform(words, floats.begin(), FromBf16);
  return floats;
}

struct TextModel::Rows {
  std::size_t count = 0;
  std::vector<float> hidden;
  std::vector<float> normed;
  std::vector<float> qkv;
  std::vector<float> attended;
  std::vector<float> gate_up;
};

TextModel::TextModel(llama::LlamaConfig config, llama::Weights weights)
    : config_(config),
      weights_(std::move(weights)),
      spec_(MakeModelSpec(config, DType::kBf16, "tiny", "")),
      rotary_(config.rotary) {}

Result<std::unique_ptr<TextModel>> TextModel::Load(const std::string& folder) {
  llama::UseOneBlasThread();
  KDN_ASSIGN_OR_RETURN(const llama::LlamaConfig config, llama::ReadConfig(folder));
  KDN_ASSIGN_OR_RETURN(llama::Weights weights, llama::ReadWeights(folder, config));
  KDN_ASSIGN_OR_RETURN(const llama::Tokenizer tokenizer,
                       llama::Tokenizer::FromFile(folder + "/vocab.txt"));
  std::unique_ptr<TextModel> model(new TextModel(config, std::move(weights)));
  std::ifstream file(folder + "/heldout.bin", std::ios::binary);
  model->text_ = tokenizer.Encode(std::string(std::istreambuf_iterator<char>(file), {}));
  if (Status status = model->CheckAgainstRecorded(folder); !status.ok()) {
    return std::unexpected(status);
  }
  return model;
}

// The recorded cache is the front of the text, computed by others: bf16 of nearly the same floats.
Status TextModel::CheckAgainstRecorded(const std::string& folder) const {
  constexpr std::uint32_t kTokens = 512;
  constexpr double kWithin = 0.005;
  const auto recorded = llama::SafetensorsFile::Open(folder + "/kv_heldout.safetensors");
  if (!recorded) return recorded.error();
  const TextContext context = Record(0, kTokens);
  for (std::size_t plane = 0; plane < 2; ++plane) {
    const auto got = context.kv->plane(plane);
    std::vector<float> want(got.size());
    const std::size_t shape[] = {config_.layers, config_.kv_heads, kTokens, config_.head_size};
    KDN_RETURN_IF_ERROR(recorded->ReadFloats(plane == 0 ? "k" : "v", shape, want));
    double error = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      error += std::pow(double{FromBf16(got[i])} - double{want[i]}, 2);
      power += std::pow(double{want[i]}, 2);
    }
    if (!(error <= kWithin * kWithin * power)) {
      return Status(Code::kDataLoss, "keys and values are not those that were recorded");
    }
  }
  return Status();
}

TextContext TextModel::Record(std::size_t part, std::uint32_t tokens) const {
  TextContext context;
  context.kv = std::make_unique<ChunkMemory>(spec_, tokens);
  context.queries.resize(std::size_t{config_.layers} * config_.query_width() * tokens);
  rotary_.Extend(tokens);
  const std::size_t width = config_.hidden_size;
  const std::size_t first = part * (text_.size() / kContexts);
  Rows rows;
  rows.count = tokens;
  rows.hidden.resize(tokens * width);
  rows.normed.resize(tokens * width);
  rows.qkv.resize(tokens * std::size_t{config_.qkv_width()});
  rows.attended.resize(tokens * std::size_t{config_.query_width()});
  rows.gate_up.resize(2 * tokens * std::size_t{config_.intermediate_size});
  for (std::size_t t = 0; t < tokens; ++t) {
    const llama::TokenId id = t == 0 ? 0 : text_[first + t - 1];
    std::copy_n(weights_.embedding.data() + id * width, width, rows.hidden.data() + t * width);
  }
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    Project(layer, rows);
    Keep(layer, rows, context);
    Attend(layer, context, rows);
    Finish(layer, rows);
  }
  return context;
}

void TextModel::Normalise(const llama::AlignedFloats& weight, Rows& rows) const {
  const std::size_t width = config_.hidden_size;
  for (std::size_t t = 0; t < rows.count; ++t) {
    const float* x = rows.hidden.data() + t * width;
    double squares = 0.0;
    for (std::size_t i = 0; i < width; ++i) squares += double{x[i]} * double{x[i]};
    const auto factor = static_cast<float>(
        1.0 / std::sqrt(squares / static_cast<double>(width) + double{config_.rms_norm_epsilon}));
    for (std::size_t i = 0; i < width; ++i) {
      rows.normed[t * width + i] = x[i] * factor * weight.data()[i];
    }
  }
}

void TextModel::Project(std::size_t layer, Rows& rows) const {
  const llama::LayerWeights& weights = weights_.layers[layer];
  const std::size_t width = config_.hidden_size;
  const std::size_t out = config_.qkv_width();
  Normalise(weights.input_norm, rows);
  TimesTransposed({rows.normed.data(), rows.count, width, width},
                  {weights.qkv.data(), out, width, width}, {rows.qkv.data(), out});
  for (std::size_t t = 0; t < rows.count; ++t) {
    for (std::size_t i = 0; i < weights.qkv_bias.size(); ++i) {
      rows.qkv[t * out + i] += weights.qkv_bias.data()[i];
    }
    for (std::size_t head = 0; head < config_.heads + config_.kv_heads; ++head) {
      Rotate(rotary_.Row(t), config_.head_size / 2,
             rows.qkv.data() + t * out + head * config_.head_size);
    }
  }
}

void TextModel::Keep(std::size_t layer, const Rows& rows, TextContext& context) const {
  const std::size_t size = config_.head_size;
  const std::size_t heads = config_.heads;
  const std::size_t kv_heads = config_.kv_heads;
  for (std::size_t t = 0; t < rows.count; ++t) {
    const float* row = rows.qkv.data() + t * config_.qkv_width();
    for (std::size_t h = 0; h < heads; ++h) {
      std::copy_n(row + h * size, size,
                  context.queries.data() + ((layer * heads + h) * rows.count + t) * size);
    }
    for (std::size_t p = 0; p < 2; ++p) {
      for (std::size_t h = 0; h < kv_heads; ++h) {
        std::transform(
            row + (heads + p * kv_heads + h) * size, row + (heads + p * kv_heads + h + 1) * size,
            context.kv->plane(p).data() + ((layer * kv_heads + h) * rows.count + t) * size, ToBf16);
      }
    }
  }
}

void TextModel::Attend(std::size_t layer, const TextContext& context, Rows& rows) const {
  const std::size_t size = config_.head_size;
  std::vector<std::uint32_t> at(rows.count);
  for (std::uint32_t t = 0; t < rows.count; ++t) at[t] = t;
  const std::size_t shared = config_.heads / config_.kv_heads;
  for (std::size_t h = 0; h < config_.heads; ++h) {
    const std::size_t count = rows.count * size;
    AttendRows(std::span(context.queries).subspan((layer * config_.heads + h) * count, count), at,
               HeadOf(*context.kv, 0, layer, h / shared), HeadOf(*context.kv, 1, layer, h / shared),
               size, rows.attended.data() + h * size, config_.query_width());
  }
}

// Output projection and MLP, added to the hidden states.
void TextModel::Finish(std::size_t layer, Rows& rows) const {
  const llama::LayerWeights& weights = weights_.layers[layer];
  const std::size_t width = config_.hidden_size;
  const std::size_t heads = config_.query_width();
  TimesTransposed({rows.attended.data(), rows.count, heads, heads},
                  {weights.output.data(), width, heads, heads}, {rows.hidden.data(), width, true});
  for (std::size_t t = 0; t < rows.count; ++t) {
    for (std::size_t i = 0; i < weights.output_bias.size(); ++i) {
      rows.hidden[t * width + i] += weights.output_bias.data()[i];
    }
  }
  Normalise(weights.post_norm, rows);
  const std::size_t inner = config_.intermediate_size;
  TimesTransposed({rows.normed.data(), rows.count, width, width},
                  {weights.gate_up.data(), 2 * inner, width, width},
                  {rows.gate_up.data(), 2 * inner});
  const llama::ColumnSlices slices(inner);
  std::vector<float> activated(rows.count * inner);
  for (std::size_t t = 0; t < rows.count; ++t) {
    for (std::size_t s = 0; s < slices.count; ++s) {
      const std::size_t first = slices.First(s);
      const std::size_t count = slices.First(s + 1) - first;
      const float* gate = rows.gate_up.data() + 2 * (t * inner + first);
      for (std::size_t i = 0; i < count; ++i) {
        activated[t * inner + first + i] = gate[i] / (1.0F + std::exp(-gate[i])) * gate[count + i];
      }
    }
  }
  TimesTransposed({activated.data(), rows.count, inner, inner},
                  {weights.down.data(), width, inner, inner}, {rows.hidden.data(), width, true});
}

std::vector<float> AttentionOutput(const TextContext& context, const ChunkMemory& kv,
                                   std::uint32_t query_heads, std::size_t layer) {
  const std::size_t size = kv.HeadSize(0);
  const std::size_t shared = query_heads / kv.spec().groups[0].kv_heads;
  std::vector<std::uint32_t> at;
  for (std::uint32_t t = kRowStride - 1; t < kv.tokens(); t += kRowStride) at.push_back(t);
  std::vector<float> out(at.size() * query_heads * size);
  std::vector<float> queries(at.size() * size);
  for (std::size_t h = 0; h < query_heads; ++h) {
    const float* from =
        context.queries.data() + (layer * query_heads + h) * std::size_t{context.tokens()} * size;
    for (std::size_t r = 0; r < at.size(); ++r) {
      std::copy_n(from + at[r] * size, size, queries.data() + r * size);
    }
    AttendRows(queries, at, HeadOf(kv, 0, layer, h / shared), HeadOf(kv, 1, layer, h / shared),
               size, out.data() + h * size, query_heads * size);
  }
  return out;
}

double AttentionError::Mean() const {
  double sum = 0.0;
  for (const double error : by_layer) sum += error;
  return sum / static_cast<double>(by_layer.size());
}

AttentionJudge::AttentionJudge(std::vector<const TextContext*> contexts, std::uint32_t query_heads)
    : contexts_(std::move(contexts)), query_heads_(query_heads) {
  for (const TextContext* context : contexts_) {
    auto& layers = wanted_.emplace_back();
    for (std::size_t l = 0; l < context->kv->spec().groups[0].layers.size(); ++l) {
      layers.push_back(AttentionOutput(*context, *context->kv, query_heads_, l));
    }
  }
}

AttentionError AttentionJudge::Judge(const std::vector<const ChunkMemory*>& lossy) const {
  AttentionError error;
  error.by_layer.resize(wanted_[0].size());
  for (std::size_t c = 0; c < contexts_.size(); ++c) {
    for (std::size_t l = 0; l < error.by_layer.size(); ++l) {
      const auto got = AttentionOutput(*contexts_[c], *lossy[c], query_heads_, l);
      const std::vector<float>& want = wanted_[c][l];
      double off = 0.0;
      double power = 0.0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        off += std::pow(double{got[i]} - double{want[i]}, 2);
        power += std::pow(double{want[i]}, 2);
      }
      error.by_layer[l] += std::sqrt(off / power) / static_cast<double>(contexts_.size());
    }
  }
  return error;
}

}  // namespace kdn::bench
