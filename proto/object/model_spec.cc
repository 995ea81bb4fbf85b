#include "proto/object/model_spec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/limits.h"

namespace kdn {
namespace {

constexpr std::uint32_t kMagic = 0x534E444B;  // "KDNS"
constexpr std::uint16_t kVersion = 1;

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::size_t bytes;
  bool scaled;
};
constexpr std::array<DTypeInfo, 5> kDTypes = {{
    {DType::kBf16, "bf16", 2, false},
    {DType::kFp16, "fp16", 2, false},
    {DType::kFp32, "fp32", 4, false},
    {DType::kFp8E4M3, "fp8_e4m3", 1, true},
    {DType::kFp8E5M2, "fp8_e5m2", 1, true},
}};

const DTypeInfo* FindDType(DType dtype) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.dtype == dtype) return &info;
  }
  return nullptr;
}

Status Invalid(std::string what) {
  return Status(Code::kInvalidArgument, "model spec: " + std::move(what));
}

bool IsFinitePositive(double value) {
  return std::isfinite(value) && value > 0.0;
}

Status ValidateDType(const ModelSpec& spec) {
  const DTypeInfo* dtype = FindDType(spec.dtype);
  if (dtype == nullptr) return Invalid("no such dtype");
  for (const float scale : {spec.k_scale, spec.v_scale}) {
    if (!IsFinitePositive(scale)) return Invalid("k_scale and v_scale must be above 0");
    if (!dtype->scaled && scale != 1.0F) return Invalid("only fp8 has scales other than 1");
  }
  return {};
}

// Values per head that a rotary position applies to: MLA keeps them in a plane of their own.
std::uint16_t RotarySpace(const KvGroup& group) {
  switch (group.attention) {
    case AttentionKind::kGrouped:
      return group.k_head_size;
    case AttentionKind::kLatent:
      return group.v_head_size;
    case AttentionKind::kState:
      break;
  }
  return 0;
}

Status ValidateRotary(const ModelSpec& spec) {
  const Rotary& rotary = spec.rotary;
  if (rotary.pairing > RotaryPairing::kGptJ) return Invalid("no such rotary pairing");
  if (rotary.scaling > RotaryScaling::kDynamicNtk) return Invalid("no such rotary scaling");
  if (!IsFinitePositive(rotary.base)) return Invalid("rotary base must be above 0");
  for (const double value : {rotary.factor, rotary.low_frequency_factor,
                             rotary.high_frequency_factor, rotary.original_context}) {
    if (!std::isfinite(value) || value < 0.0) return Invalid("rotary scaling out of bounds");
    if (rotary.scaling == RotaryScaling::kNone && value != 0.0) {
      return Invalid("rotary scaling parameters without a scaling");
    }
  }
  if (rotary.scaling != RotaryScaling::kNone && rotary.factor == 0.0) {
    return Invalid("rotary scaling needs a factor");
  }
  const bool rotates = rotary.pairing != RotaryPairing::kNone;
  if (rotates != (rotary.dims > 0) || rotary.dims % 2 != 0) {
    return Invalid("rotary dims must be even, and 0 exactly without a pairing");
  }
  for (const KvGroup& group : spec.groups) {
    if (group.attention != AttentionKind::kState && rotary.dims > RotarySpace(group)) {
      return Invalid("rotary dims exceed a group's head size");
    }
  }
  return {};
}

Status ValidateGroup(const KvGroup& group) {
  if (group.attention > AttentionKind::kState) return Invalid("no such attention kind");
  if (group.layers.empty()) return Invalid("a KV group without layers");
  if (group.kv_heads == 0 || group.kv_heads > limits::kKvHeadsMax) {
    return Invalid("kv_heads must be from 1 to " + std::to_string(limits::kKvHeadsMax));
  }
  if (group.attention != AttentionKind::kGrouped && group.kv_heads != 1) {
    return Invalid("kv_heads must be 1 for latent and state groups");
  }
  if (group.k_head_size == 0 || group.k_head_size > limits::kHeadSizeMax) {
    return Invalid("k_head_size must be from 1 to " + std::to_string(limits::kHeadSizeMax));
  }
  const bool has_second = group.attention != AttentionKind::kState;
  if (has_second != (group.v_head_size > 0) || group.v_head_size > limits::kHeadSizeMax) {
    return Invalid("v_head_size must be from 1 to " + std::to_string(limits::kHeadSizeMax) +
                   ", and 0 for state groups");
  }
  return {};
}

// Each layer below the count of all is in exactly one group, ascending within it.
Status ValidateLayers(const std::vector<KvGroup>& groups) {
  std::vector<bool> seen;
  for (const KvGroup& group : groups) {
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      const std::uint16_t layer = group.layers[i];
      if (layer >= limits::kLayersMax) {
        return Invalid("layer " + std::to_string(layer) + " is beyond the limit of " +
                       std::to_string(limits::kLayersMax));
      }
      if (i > 0 && group.layers[i - 1] > layer) return Invalid("layers of a group must ascend");
      if (seen.size() <= layer) seen.resize(layer + std::size_t{1});
      if (seen[layer]) return Invalid("layer " + std::to_string(layer) + " is named twice");
      seen[layer] = true;
    }
  }
  const auto missing = std::find(seen.begin(), seen.end(), false);
  if (missing != seen.end()) {
    return Invalid("layer " + std::to_string(missing - seen.begin()) + " is in no group");
  }
  return {};
}

// Both zeros are one value and must be one encoding.
void WriteDouble(double value, ByteWriter& out) {
  out.Integer(std::bit_cast<std::uint64_t>(value == 0.0 ? 0.0 : value));
}

double ReadDouble(ByteReader& in) {
  return std::bit_cast<double>(in.Integer<std::uint64_t>());
}

float ReadFloat(ByteReader& in) {
  return std::bit_cast<float>(in.Integer<std::uint32_t>());
}

void WriteGroup(const KvGroup& group, ByteWriter& out) {
  out.Integer(group.attention);
  out.Integer(group.kv_heads);
  out.Integer(group.k_head_size);
  out.Integer(group.v_head_size);
  out.Integer(group.window_tokens);
  out.Integer(static_cast<std::uint16_t>(group.layers.size()));
  for (const std::uint16_t layer : group.layers) out.Integer(layer);
}

KvGroup ReadGroup(ByteReader& in) {
  KvGroup group;
  group.attention = in.Integer<AttentionKind>();
  group.kv_heads = in.Integer<std::uint16_t>();
  group.k_head_size = in.Integer<std::uint16_t>();
  group.v_head_size = in.Integer<std::uint16_t>();
  group.window_tokens = in.Integer<std::uint32_t>();
  const auto layer_count = in.Integer<std::uint16_t>();
  if (layer_count > limits::kLayersMax) in.Fail();
  for (std::uint16_t i = 0; i < layer_count && in.ok(); ++i) {
    group.layers.push_back(in.Integer<std::uint16_t>());
  }
  return group;
}

Rotary ReadRotary(ByteReader& in) {
  Rotary rotary;
  rotary.pairing = in.Integer<RotaryPairing>();
  rotary.scaling = in.Integer<RotaryScaling>();
  rotary.dims = in.Integer<std::uint16_t>();
  rotary.base = ReadDouble(in);
  rotary.factor = ReadDouble(in);
  rotary.low_frequency_factor = ReadDouble(in);
  rotary.high_frequency_factor = ReadDouble(in);
  rotary.original_context = ReadDouble(in);
  return rotary;
}

}  // namespace

std::size_t DTypeBytes(DType dtype) {
  const DTypeInfo* info = FindDType(dtype);
  return info == nullptr ? 0 : info->bytes;
}

std::string_view DTypeName(DType dtype) {
  const DTypeInfo* info = FindDType(dtype);
  return info == nullptr ? "unknown" : info->name;
}

std::string_view PlaneName(Plane plane) {
  constexpr std::array<std::string_view, kPlaneCount> kNames = {"k", "v", "latent", "rope",
                                                                "state"};
  const auto number = static_cast<std::size_t>(plane);
  return number < kNames.size() ? kNames[number] : "unknown";
}

Status ValidateModelSpec(const ModelSpec& spec) {
  for (const std::string* text : {&spec.name, &spec.revision}) {
    if (text->size() > limits::kModelNameBytesMax) {
      return Invalid("name and revision may have " + std::to_string(limits::kModelNameBytesMax) +
                     " bytes each");
    }
  }
  if (spec.name.empty()) return Invalid("no name");
  if (spec.groups.empty() || spec.groups.size() > limits::kKvGroupsMax) {
    return Invalid("must have 1 to " + std::to_string(limits::kKvGroupsMax) + " KV groups");
  }
  KDN_RETURN_IF_ERROR(ValidateDType(spec));
  for (const KvGroup& group : spec.groups) KDN_RETURN_IF_ERROR(ValidateGroup(group));
  KDN_RETURN_IF_ERROR(ValidateRotary(spec));
  return ValidateLayers(spec.groups);
}

std::uint32_t LayerCount(const ModelSpec& spec) {
  std::size_t count = 0;
  for (const KvGroup& group : spec.groups) count += group.layers.size();
  return static_cast<std::uint32_t>(count);
}

const KvGroup& GroupOfLayer(const ModelSpec& spec, std::uint32_t layer) {
  for (const KvGroup& group : spec.groups) {
    if (std::binary_search(group.layers.begin(), group.layers.end(), layer)) return group;
  }
  return spec.groups.back();
}

std::size_t BytesPerToken(const ModelSpec& spec) {
  std::size_t values = 0;
  for (const KvGroup& group : spec.groups) {
    const std::size_t per_head = std::size_t{group.k_head_size} + group.v_head_size;
    values += group.layers.size() * group.kv_heads * per_head;
  }
  return values * DTypeBytes(spec.dtype);
}

std::vector<std::byte> EncodeModelSpec(const ModelSpec& spec) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Integer(kMagic);
  out.Integer(kVersion);
  out.Sized(AsBytes(spec.name));
  out.Sized(AsBytes(spec.revision));
  out.Integer(spec.dtype);
  out.Integer(std::bit_cast<std::uint32_t>(spec.k_scale));
  out.Integer(std::bit_cast<std::uint32_t>(spec.v_scale));
  out.Integer(spec.rotary.pairing);
  out.Integer(spec.rotary.scaling);
  out.Integer(spec.rotary.dims);
  WriteDouble(spec.rotary.base, out);
  WriteDouble(spec.rotary.factor, out);
  WriteDouble(spec.rotary.low_frequency_factor, out);
  WriteDouble(spec.rotary.high_frequency_factor, out);
  WriteDouble(spec.rotary.original_context, out);
  out.Integer(static_cast<std::uint16_t>(spec.groups.size()));
  for (const KvGroup& group : spec.groups) WriteGroup(group, out);
  return bytes;
}

Result<ModelSpec> DecodeModelSpec(ConstBytes bytes) {
  if (bytes.size() > limits::kModelSpecBytesMax) return Error(Code::kDataLoss, "model spec size");
  ByteReader in(bytes);
  if (in.Integer<std::uint32_t>() != kMagic || in.Integer<std::uint16_t>() != kVersion) {
    return Error(Code::kDataLoss, "no model spec of version 1");
  }
  ModelSpec spec;
  spec.name = AsText(in.Sized(limits::kModelNameBytesMax));
  spec.revision = AsText(in.Sized(limits::kModelNameBytesMax));
  spec.dtype = in.Integer<DType>();
  spec.k_scale = ReadFloat(in);
  spec.v_scale = ReadFloat(in);
  spec.rotary = ReadRotary(in);
  const auto group_count = in.Integer<std::uint16_t>();
  if (group_count > limits::kKvGroupsMax) in.Fail();
  for (std::uint16_t i = 0; i < group_count && in.ok(); ++i) spec.groups.push_back(ReadGroup(in));
  if (!in.AtEnd()) return Error(Code::kDataLoss, "model spec is malformed");
  if (const Status status = ValidateModelSpec(spec); !status.ok()) {
    return Error(Code::kDataLoss, status.message());
  }
  // What decodes to a valid spec in more than one way would give it several fingerprints.
  const std::vector<std::byte> canonical = EncodeModelSpec(spec);
  if (!std::equal(bytes.begin(), bytes.end(), canonical.begin(), canonical.end())) {
    return Error(Code::kDataLoss, "model spec is not canonical");
  }
  return spec;
}

}  // namespace kdn
