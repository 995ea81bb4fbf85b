#include "client/llama/step.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/limits.h"
#include "client/llama/product.h"

namespace kdn::llama {
namespace {

constexpr std::size_t kRowsPerItem = 32;         // of work that goes row by row
constexpr std::uint32_t kAttentionRows = 256;    // query rows of one attention item, about
constexpr std::size_t kParallelWork = 1U << 19;  // rows · width² below which sharing costs more

std::size_t ItemsOf(std::size_t rows) {
  return (rows + kRowsPerItem - 1) / kRowsPerItem;
}

}  // namespace

StepRunner::StepRunner(const LlamaConfig& config, const Weights& weights, const Kernels& kernels,
                       Workers& workers)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      workers_(workers),
      rotary_(config.rotary),
      group_(config.heads / config.kv_heads),
      tile_tokens_(std::clamp(std::bit_floor(kAttentionRows / group_), 16U, kStepTokens)),
      hidden_(std::size_t{kStepTokens} * config.hidden_size),
      normed_(std::size_t{kStepTokens} * config.hidden_size),
      qkv_(std::size_t{kStepTokens} * config.qkv_width()),
      attended_(std::size_t{kStepTokens} * config.query_width()),
      gate_up_(std::size_t{kStepTokens} * 2 * config.intermediate_size),
      activated_(std::size_t{kStepTokens} * config.intermediate_size) {
  const std::size_t rows = std::size_t{tile_tokens_} * group_;
  for (std::size_t thread = 0; thread < workers.thread_count(); ++thread) {
    scratch_.push_back({.queries = AlignedFloats(rows * config.head_size),
                        .scores = AlignedFloats(rows * kStepTokens),
                        .sums = AlignedFloats(rows * config.head_size),
                        .panel = AlignedFloats(std::size_t{kStepTokens} * config.head_size),
                        .softmax = std::vector<SoftmaxState>(rows)});
  }
}

// Small steps stay on the calling thread. The items are the same, so the results are.
template <class Body>
void StepRunner::ForEach(std::size_t item_count, const Body& body) {
  if (parallel_) {
    workers_.Run(item_count, body);
  } else {
    for (std::size_t item = 0; item < item_count; ++item) body(item, std::size_t{0});
  }
}

Status StepRunner::Run(const Step& step, const LayerHooks& hooks) {
  const std::size_t width = config_.hidden_size;
  parallel_ = step.rows() * width * width >= kParallelWork;
  rotary_.Extend(step.first_position + step.rows());
  Embed(step);
  for (std::uint32_t i = 0; i < config_.layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    if (hooks.before_layer) KDN_RETURN_IF_ERROR(hooks.before_layer(i));
    Norm(step.rows(), layer.input_norm);
    QueriesKeysValues(step, layer);
    WriteKv(step, i);
    if (hooks.after_layer_kv) {
      hooks.after_layer_kv(i, step.first_position, static_cast<std::uint32_t>(step.rows()));
    }
    Attend(step, i);
    AddOutput(step.rows(), layer);
    Norm(step.rows(), layer.post_norm);
    AddMlp(step.rows(), layer);
  }
  Norm(step.rows(), weights_.final_norm);
  return {};
}

void StepRunner::Logits(std::size_t first_row, std::size_t rows, float* out) {
  const std::size_t width = config_.hidden_size;
  const ColumnSlices slices(config_.vocab_size);
  const Matrix x{normed_.data() + first_row * width, rows, width, width};
  ForEach(slices.count, [&](std::size_t slice, std::size_t) {
    const std::size_t first = slices.First(slice);
    const std::size_t count = slices.First(slice + 1) - first;
    TimesTransposed(x, {weights_.head_rows() + first * width, count, width, width},
                    {out + first, config_.vocab_size});
  });
}

void StepRunner::Embed(const Step& step) {
  const std::size_t width = config_.hidden_size;
  for (std::size_t row = 0; row < step.rows(); ++row) {
    std::copy_n(weights_.embedding.data() + step.tokens[row] * width, width,
                hidden_.data() + row * width);
  }
}

void StepRunner::Norm(std::size_t rows, const AlignedFloats& weight) {
  const std::size_t width = config_.hidden_size;
  ForEach(ItemsOf(rows), [&](std::size_t item, std::size_t) {
    const std::size_t end = std::min(rows, (item + 1) * kRowsPerItem);
    for (std::size_t row = item * kRowsPerItem; row < end; ++row) {
      kernels_.rms_norm(hidden_.data() + row * width, weight.data(), config_.rms_norm_epsilon,
                        width, normed_.data() + row * width);
    }
  });
}

void StepRunner::QueriesKeysValues(const Step& step, const LayerWeights& layer) {
  const std::size_t width = config_.hidden_size;
  const std::size_t out_width = config_.qkv_width();
  const ColumnSlices slices(out_width);
  ForEach(slices.count, [&](std::size_t slice, std::size_t) {
    const std::size_t first = slices.First(slice);
    const std::size_t count = slices.First(slice + 1) - first;
    TimesTransposed({normed_.data(), step.rows(), width, width},
                    {layer.qkv.data() + first * width, count, width, width},
                    {qkv_.data() + first, out_width});
    for (std::size_t row = 0; layer.qkv_bias.size() > 0 && row < step.rows(); ++row) {
      kernels_.add(qkv_.data() + row * out_width + first, layer.qkv_bias.data() + first, count);
    }
  });
}

void StepRunner::WriteKv(const Step& step, std::uint32_t layer) {
  ForEach(ItemsOf(step.rows()), [&](std::size_t item, std::size_t) {
    std::array<float, limits::kHeadSizeMax> rotated;
    const std::size_t end = std::min(step.rows(), (item + 1) * kRowsPerItem);
    for (std::size_t row = item * kRowsPerItem; row < end; ++row) {
      WriteRow(step, layer, row, rotated.data());
    }
  });
}

void StepRunner::WriteRow(const Step& step, std::uint32_t layer, std::size_t row, float* rotated) {
  const std::size_t size = config_.head_size;
  const std::uint64_t position = step.first_position + row;
  const std::uint32_t block_tokens = step.cache->options().block_tokens;
  const std::uint32_t block = step.blocks[position / block_tokens];
  const auto slot = static_cast<std::uint32_t>(position % block_tokens);
  const auto store = [&](Plane plane, std::uint32_t head, const float* values) {
    std::byte* to = step.cache->Values(layer, plane, head, block, slot);
    if (step.cache->options().dtype == DType::kBf16) {
      kernels_.narrow_bf16(values, size, reinterpret_cast<std::uint16_t*>(to));
    } else {
      std::memcpy(to, values, size * sizeof(float));
    }
  };
  const float* k = qkv_.data() + row * config_.qkv_width() + config_.query_width();
  const float* v = k + config_.kv_width();
  for (std::uint32_t head = 0; head < config_.kv_heads; ++head) {
    kernels_.rotate(k + head * size, rotary_.Row(position), size / 2, 1.0F, rotated);
    store(Plane::kK, head, rotated);
    store(Plane::kV, head, v + head * size);
  }
}

void StepRunner::Attend(const Step& step, std::uint32_t layer) {
  const std::size_t tiles = (step.rows() + tile_tokens_ - 1) / tile_tokens_;
  // Later tiles see more keys: they go first, so that no thread is left with a long one at the end.
  ForEach(tiles * config_.kv_heads, [&](std::size_t item, std::size_t thread) {
    const std::size_t tile = tiles - 1 - item / config_.kv_heads;
    const auto kv_head = static_cast<std::uint32_t>(item % config_.kv_heads);
    AttendTile(step, layer, kv_head, tile * tile_tokens_, scratch_[thread]);
  });
}

// Queries of one KV head for some of the step's tokens, over all keys they may see, a block of keys
// at a time (online softmax). Rows are ordered by query head, then token. Blocks of keys end at the
// multiples of kStepTokens that steps end at, so each row sees some of every block that it is
// given.
void StepRunner::AttendTile(const Step& step, std::uint32_t layer, std::uint32_t kv_head,
                            std::size_t first_row, AttentionScratch& scratch) {
  const std::size_t size = config_.head_size;
  const std::size_t tokens = std::min<std::size_t>(tile_tokens_, step.rows() - first_row);
  const std::size_t rows = tokens * group_;
  const std::uint64_t first = step.first_position + first_row;
  const float factor = 1.0F / std::sqrt(static_cast<float>(size));
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t head = std::size_t{kv_head} * group_ + row / tokens;
    const std::size_t token = row % tokens;
    const float* query = qkv_.data() + (first_row + token) * config_.qkv_width() + head * size;
    kernels_.rotate(query, rotary_.Row(first + token), size / 2, factor,
                    scratch.queries.data() + row * size);
    scratch.softmax[row] = {};
  }
  const std::uint64_t end = first + tokens;
  for (std::uint64_t key = 0; key < end; key += kStepTokens) {
    const std::array<std::uint64_t, 2> range{key, std::min(end, key + kStepTokens)};
    const std::size_t keys = range[1] - key;
    const Matrix panel{scratch.panel.data(), keys, size, size};
    ReadPanel(step, layer, Plane::kK, kv_head, range, scratch.panel.data());
    TimesTransposed({scratch.queries.data(), rows, size, size}, panel,
                    {scratch.scores.data(), kStepTokens});
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t visible = std::min<std::size_t>(keys, first + row % tokens + 1 - key);
      const float shrink = kernels_.softmax_block(scratch.scores.data() + row * kStepTokens,
                                                  visible, keys, scratch.softmax[row]);
      if (key > 0 && shrink != 1.0F) kernels_.scale(scratch.sums.data() + row * size, shrink, size);
    }
    ReadPanel(step, layer, Plane::kV, kv_head, range, scratch.panel.data());
    Times({scratch.scores.data(), rows, keys, kStepTokens}, panel,
          {scratch.sums.data(), size, /*add=*/key > 0});
  }
  for (std::size_t row = 0; row < rows; ++row) {
    float* sums = scratch.sums.data() + row * size;
    kernels_.scale(sums, 1.0F / scratch.softmax[row].sum, size);
    std::copy_n(sums, size,
                attended_.data() + (first_row + row % tokens) * config_.query_width() +
                    (std::size_t{kv_head} * group_ + row / tokens) * size);
  }
}

void StepRunner::ReadPanel(const Step& step, std::uint32_t layer, Plane plane,
                           std::uint32_t kv_head, std::span<const std::uint64_t, 2> range,
                           float* panel) const {
  const std::size_t size = config_.head_size;
  const std::uint32_t block_tokens = step.cache->options().block_tokens;
  const bool bf16 = step.cache->options().dtype == DType::kBf16;
  const bool adjacent = step.cache->options().layout == KvLayout::kHnd;
  for (std::uint64_t token = range[0]; token < range[1];) {
    const auto slot = static_cast<std::uint32_t>(token % block_tokens);
    const std::uint64_t left = std::min<std::uint64_t>(block_tokens - slot, range[1] - token);
    const std::size_t run = adjacent ? left : 1;
    const std::byte* from =
        step.cache->Values(layer, plane, kv_head, step.blocks[token / block_tokens], slot);
    if (bf16) {
      kernels_.widen_bf16(reinterpret_cast<const std::uint16_t*>(from), run * size, panel);
    } else {
      std::memcpy(panel, from, run * size * sizeof(float));
    }
    panel += run * size;
    token += run;
  }
}

void StepRunner::AddOutput(std::size_t rows, const LayerWeights& layer) {
  const std::size_t width = config_.hidden_size;
  const std::size_t in_width = config_.query_width();
  const ColumnSlices slices(width);
  ForEach(slices.count, [&](std::size_t slice, std::size_t) {
    const std::size_t first = slices.First(slice);
    const std::size_t count = slices.First(slice + 1) - first;
    TimesTransposed({attended_.data(), rows, in_width, in_width},
                    {layer.output.data() + first * in_width, count, in_width, in_width},
                    {hidden_.data() + first, width, /*add=*/true});
    for (std::size_t row = 0; layer.output_bias.size() > 0 && row < rows; ++row) {
      kernels_.add(hidden_.data() + row * width + first, layer.output_bias.data() + first, count);
    }
  });
}

void StepRunner::AddMlp(std::size_t rows, const LayerWeights& layer) {
  const std::size_t width = config_.hidden_size;
  const std::size_t inner = config_.intermediate_size;
  const ColumnSlices inner_slices(inner);
  ForEach(inner_slices.count, [&](std::size_t slice, std::size_t) {
    const std::size_t first = inner_slices.First(slice);
    const std::size_t count = inner_slices.First(slice + 1) - first;
    float* gate_up = gate_up_.data() + 2 * first;
    TimesTransposed({normed_.data(), rows, width, width},
                    {layer.gate_up.data() + 2 * first * width, 2 * count, width, width},
                    {gate_up, 2 * inner});
    for (std::size_t row = 0; row < rows; ++row) {
      const float* gate = gate_up + row * 2 * inner;
      kernels_.swiglu(gate, gate + count, count, activated_.data() + row * inner + first);
    }
  });
  const ColumnSlices slices(width);
  ForEach(slices.count, [&](std::size_t slice, std::size_t) {
    const std::size_t first = slices.First(slice);
    const std::size_t count = slices.First(slice + 1) - first;
    TimesTransposed({activated_.data(), rows, inner, inner},
                    {layer.down.data() + first * inner, count, inner, inner},
                    {hidden_.data() + first, width, /*add=*/true});
  });
}

}  // namespace kdn::llama
