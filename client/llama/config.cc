#include "client/llama/config.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/limits.h"

namespace kdn::llama {
namespace {

using nlohmann::json;

constexpr std::size_t kConfigBytesMax = 1 << 20;
constexpr std::uint32_t kHeadsMax = 1024;
constexpr std::uint32_t kWidthMax = 1 << 18;
constexpr std::uint32_t kVocabularyMax = 1 << 22;
constexpr std::uint32_t kPositionsMax = 1 << 24;

// Reads fields and remembers the first that was wrong, so that a reader asks once.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  // Absent and null are alike in these files.
  [[nodiscard]] const json* Find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  std::uint32_t Count(const char* name, std::uint32_t limit, std::uint32_t absent = 0) {
    const json* field = Find(name);
    if (field == nullptr && absent > 0) return absent;
    if (field == nullptr || !field->is_number_unsigned() || field->get<std::uint64_t>() == 0 ||
        field->get<std::uint64_t>() > limit) {
      Wrong(name, "a whole number from 1 to " + std::to_string(limit));
      return 1;
    }
    return field->get<std::uint32_t>();
  }
  double Positive(const json& owner, const char* name, double absent) {
    const auto found = owner.find(name);
    if (found == owner.end() || found->is_null()) {
      if (absent <= 0.0) Wrong(name, "a number above 0");
      return absent;
    }
    const double value = found->is_number() ? found->get<double>() : 0.0;
    if (!(value > 0.0 && std::isfinite(value))) Wrong(name, "a number above 0");
    return value;
  }
  bool Flag(const char* name, bool absent) {
    const json* field = Find(name);
    if (field == nullptr) return absent;
    if (!field->is_boolean()) {
      Wrong(name, "true or false");
      return absent;
    }
    return field->get<bool>();
  }
  // Of the object itself or of one inside it.
  std::string Text(const json& owner, const char* name, std::string absent) {
    const auto found = owner.find(name);
    if (found == owner.end() || found->is_null()) return absent;
    if (found->is_string()) return found->get<std::string>();
    Wrong(name, "a string");
    return absent;
  }
  void Wrong(const char* name, const std::string& expected) {
    Fail(Code::kInvalidArgument, std::string("config.json: ") + name + ": expected " + expected);
  }
  void Unsupported(const std::string& what) {
    Fail(Code::kUnimplemented, "config.json: " + what + " is not supported");
  }
  [[nodiscard]] const json& object() const { return object_; }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  void Fail(Code code, std::string message) {
    if (status_.ok()) status_ = Status(code, std::move(message));
  }
  const json& object_;
  Status status_;
};

// "rope_theta" and "rope_scaling", or both in one "rope_parameters" as newer files have it.
Rotary ReadRotary(Fields& fields, std::uint32_t head_size) {
  Rotary rotary;
  rotary.pairing = RotaryPairing::kNeox;
  rotary.dims = static_cast<std::uint16_t>(head_size);
  const json* newer = fields.Find("rope_parameters");
  const json* scaling = newer != nullptr ? newer : fields.Find("rope_scaling");
  const json empty = json::object();
  if (scaling == nullptr) scaling = &empty;
  if (!scaling->is_object()) {
    fields.Wrong("rope_scaling", "an object");
    return rotary;
  }
  const double outside = fields.Positive(fields.object(), "rope_theta", 10000.0);
  rotary.base = fields.Positive(*scaling, "rope_theta", outside);
  const std::string older_name = fields.Text(*scaling, "type", "default");
  const std::string kind = fields.Text(*scaling, "rope_type", older_name);
  if (kind == "linear") {
    rotary.scaling = RotaryScaling::kLinear;
    rotary.factor = fields.Positive(*scaling, "factor", 0.0);
  } else if (kind == "llama3") {
    rotary.scaling = RotaryScaling::kLlama3;
    rotary.factor = fields.Positive(*scaling, "factor", 0.0);
    rotary.low_frequency_factor = fields.Positive(*scaling, "low_freq_factor", 0.0);
    rotary.high_frequency_factor = fields.Positive(*scaling, "high_freq_factor", 0.0);
    rotary.original_context = fields.Positive(*scaling, "original_max_position_embeddings", 0.0);
    if (!(rotary.high_frequency_factor > rotary.low_frequency_factor)) {
      fields.Wrong("high_freq_factor", "more than low_freq_factor");
    }
  } else if (kind != "default") {
    fields.Unsupported("rotary scaling '" + kind + "'");
  }
  return rotary;
}

void RefuseWhatIsNotComputed(Fields& fields, const std::string& kind) {
  if (kind != "llama" && kind != "qwen2" && kind != "mistral") {
    fields.Unsupported("model_type '" + kind + "'");
  }
  const std::string activation = fields.Text(fields.object(), "hidden_act", "silu");
  if (activation != "silu") fields.Unsupported("hidden_act '" + activation + "'");
  if (fields.Flag("mlp_bias", false)) fields.Unsupported("mlp_bias");
  if (fields.Find("quantization_config") != nullptr) fields.Unsupported("quantization_config");
  const bool sliding = fields.Find("sliding_window") != nullptr;
  // Qwen2 names a window and says in another field that it has none.
  if (sliding && fields.Flag("use_sliding_window", true)) fields.Unsupported("sliding_window");
  if (fields.Positive(fields.object(), "partial_rotary_factor", 1.0) != 1.0) {
    fields.Unsupported("partial_rotary_factor");
  }
}

LlamaConfig ReadFields(Fields& fields) {
  const std::string kind = fields.Text(fields.object(), "model_type", "(none)");
  RefuseWhatIsNotComputed(fields, kind);
  LlamaConfig config;
  config.vocab_size = fields.Count("vocab_size", kVocabularyMax);
  config.hidden_size = fields.Count("hidden_size", kWidthMax);
  config.intermediate_size = fields.Count("intermediate_size", kWidthMax);
  config.layers = fields.Count("num_hidden_layers", limits::kLayersMax);
  config.heads = fields.Count("num_attention_heads", kHeadsMax);
  config.kv_heads = fields.Count("num_key_value_heads", limits::kKvHeadsMax, config.heads);
  config.head_size = fields.Count("head_dim", limits::kHeadSizeMax,
                                  std::max(1U, config.hidden_size / config.heads));
  config.positions_max = fields.Count("max_position_embeddings", kPositionsMax);
  config.rms_norm_epsilon =
      static_cast<float>(fields.Positive(fields.object(), "rms_norm_eps", 1e-6));
  config.tied_embeddings = fields.Flag("tie_word_embeddings", false);
  const bool attention_bias = fields.Flag("attention_bias", false);
  config.qkv_bias = attention_bias || kind == "qwen2";
  config.output_bias = attention_bias;
  config.rotary = ReadRotary(fields, config.head_size);
  if (config.heads % config.kv_heads != 0) {
    fields.Wrong("num_key_value_heads", "a divisor of num_attention_heads");
  }
  if (config.head_size % 2 != 0) fields.Wrong("head_dim", "an even number");
  return config;
}

}  // namespace

Result<LlamaConfig> ParseConfig(std::string_view text) {
  if (text.size() > kConfigBytesMax) {
    return Error(Code::kInvalidArgument, "config.json is over 1 MiB");
  }
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Error(Code::kInvalidArgument, "config.json is no JSON object");
  Fields fields(parsed);
  const LlamaConfig config = ReadFields(fields);
  if (!fields.status().ok()) return std::unexpected(fields.status());
  return config;
}

Result<LlamaConfig> ReadConfig(const std::string& folder) {
  std::ifstream file(folder + "/config.json", std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot open " + folder + "/config.json");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return ParseConfig(text);
}

ModelSpec MakeModelSpec(const LlamaConfig& config, DType kv_dtype, std::string name,
                        std::string revision) {
  ModelSpec spec;
  spec.name = std::move(name);
  spec.revision = std::move(revision);
  spec.dtype = kv_dtype;
  spec.rotary = config.rotary;
  KvGroup group;
  for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
    group.layers.push_back(static_cast<std::uint16_t>(layer));
  }
  group.kv_heads = static_cast<std::uint16_t>(config.kv_heads);
  group.k_head_size = static_cast<std::uint16_t>(config.head_size);
  group.v_head_size = static_cast<std::uint16_t>(config.head_size);
  spec.groups.push_back(std::move(group));
  return spec;
}

}  // namespace kdn::llama
