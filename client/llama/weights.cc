#include "client/llama/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/crypto.h"
#include "base/ids.h"
#include "client/llama/safetensors.h"

namespace kdn::llama {
namespace {

constexpr std::size_t kSliceColumnsMin = 128;
constexpr std::size_t kSlicesMax = 64;
constexpr std::size_t kSliceAlignment = 16;
constexpr std::size_t kDigestBlockBytes = std::size_t{4} << 20;

// Reads tensors until the first error, which it keeps.
class TensorReader {
 public:
  explicit TensorReader(const SafetensorsFile& file) : file_(file) {}

  void Vector(const std::string& name, std::size_t count, AlignedFloats& out) {
    out = AlignedFloats(count);
    Read(name, std::array{count}, out.span());
  }
  void Matrix(const std::string& name, std::size_t rows, std::size_t columns, AlignedFloats& out) {
    out = AlignedFloats(rows * columns);
    Read(name, std::array{rows, columns}, out.span());
  }
  void Read(const std::string& name, std::span<const std::size_t> shape, std::span<float> out) {
    if (status_.ok()) status_ = file_.ReadFloats(name, shape, out);
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  const SafetensorsFile& file_;
  Status status_;
};

void ReadQkv(TensorReader& reader, const LlamaConfig& config, const std::string& prefix,
             LayerWeights& layer) {
  const std::size_t hidden = config.hidden_size;
  const std::size_t query = config.query_width();
  const std::size_t kv = config.kv_width();
  layer.qkv = AlignedFloats(config.qkv_width() * hidden);
  if (config.qkv_bias) layer.qkv_bias = AlignedFloats(config.qkv_width());
  const std::pair<const char*, std::size_t> parts[] = {{"q", query}, {"k", kv}, {"v", kv}};
  std::size_t first = 0;
  for (const auto& [name, rows] : parts) {
    const std::string stem = prefix + "self_attn." + name + "_proj.";
    reader.Read(stem + "weight", std::array{rows, hidden},
                layer.qkv.span().subspan(first * hidden, rows * hidden));
    if (config.qkv_bias) {
      reader.Read(stem + "bias", std::array{rows}, layer.qkv_bias.span().subspan(first, rows));
    }
    first += rows;
  }
}

void ReadGateUp(TensorReader& reader, const LlamaConfig& config, const std::string& prefix,
                LayerWeights& layer) {
  const std::size_t hidden = config.hidden_size;
  AlignedFloats gate;
  AlignedFloats up;
  reader.Matrix(prefix + "mlp.gate_proj.weight", config.intermediate_size, hidden, gate);
  reader.Matrix(prefix + "mlp.up_proj.weight", config.intermediate_size, hidden, up);
  layer.gate_up = AlignedFloats(gate.size() + up.size());
  const ColumnSlices slices(config.intermediate_size);
  float* to = layer.gate_up.data();
  for (std::size_t slice = 0; slice < slices.count; ++slice) {
    const std::size_t first = slices.First(slice) * hidden;
    const std::size_t end = slices.First(slice + 1) * hidden;
    to = std::copy(gate.data() + first, gate.data() + end, to);
    to = std::copy(up.data() + first, up.data() + end, to);
  }
}

void ReadLayer(TensorReader& reader, const LlamaConfig& config, std::size_t index,
               LayerWeights& layer) {
  const std::size_t hidden = config.hidden_size;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  reader.Vector(prefix + "input_layernorm.weight", hidden, layer.input_norm);
  ReadQkv(reader, config, prefix, layer);
  reader.Matrix(prefix + "self_attn.o_proj.weight", hidden, config.query_width(), layer.output);
  if (config.output_bias) {
    reader.Vector(prefix + "self_attn.o_proj.bias", hidden, layer.output_bias);
  }
  reader.Vector(prefix + "post_attention_layernorm.weight", hidden, layer.post_norm);
  ReadGateUp(reader, config, prefix, layer);
  reader.Matrix(prefix + "mlp.down_proj.weight", hidden, config.intermediate_size, layer.down);
}

// Whether the file can hold this many tensors of this shape at all: asked before memory is made for
// them, so that a config cannot demand more than the weights deliver.
bool Plausible(const SafetensorsFile& file, const LlamaConfig& config) {
  std::size_t values = 0;
  for (const auto& [name, info] : file.tensors()) values += info.value_count;
  const std::size_t per_layer =
      std::size_t{config.hidden_size} * (std::size_t{config.qkv_width()} + config.query_width() +
                                         std::size_t{3} * config.intermediate_size);
  const std::size_t embedding = std::size_t{config.vocab_size} * config.hidden_size;
  return embedding <= values && per_layer <= (values - embedding) / config.layers;
}

}  // namespace

ColumnSlices::ColumnSlices(std::size_t columns)
    : width(columns),
      count(std::bit_floor(std::clamp<std::size_t>(columns / kSliceColumnsMin, 1, kSlicesMax))) {}

std::size_t ColumnSlices::First(std::size_t slice) const {
  if (slice == count) return width;
  return width * slice / count / kSliceAlignment * kSliceAlignment;
}

Result<Weights> ReadWeights(const std::string& folder, const LlamaConfig& config) {
  const std::string path = folder + "/model.safetensors";
  if (std::error_code ignored; !std::filesystem::exists(path, ignored) &&
                               std::filesystem::exists(path + ".index.json", ignored)) {
    return Error(Code::kUnimplemented, folder + ": weights in several files are not supported");
  }
  KDN_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  if (!Plausible(file, config)) {
    return Error(Code::kInvalidArgument, path + " is smaller than config.json implies");
  }
  Weights weights;
  TensorReader reader(file);
  reader.Matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size,
                weights.embedding);
  weights.layers.resize(config.layers);
  for (std::size_t i = 0; i < weights.layers.size() && reader.status().ok(); ++i) {
    ReadLayer(reader, config, i, weights.layers[i]);
  }
  reader.Vector("model.norm.weight", config.hidden_size, weights.final_norm);
  if (!config.tied_embeddings) {
    reader.Matrix("lm_head.weight", config.vocab_size, config.hidden_size, weights.head);
  }
  if (!reader.status().ok()) return std::unexpected(reader.status());
  return weights;
}

Result<std::string> WeightsRevision(const std::string& folder) {
  // A digest of digests, so that a large file need not be in memory at once.
  std::vector<std::byte> digests;
  std::vector<char> block(kDigestBlockBytes);
  for (const char* name : {"/config.json", "/model.safetensors"}) {
    std::ifstream file(folder + name, std::ios::binary);
    if (!file) return Error(Code::kNotFound, "cannot open " + folder + name);
    while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
      const auto got = static_cast<std::size_t>(file.gcount());
      const Digest digest = Sha256(std::as_bytes(std::span(block).first(got)));
      digests.insert(digests.end(), digest.begin(), digest.end());
    }
  }
  OpaqueId<struct RevisionTag, 32> id;
  id.bytes = Sha256(digests);
  return ToHex(id);
}

}  // namespace kdn::llama
