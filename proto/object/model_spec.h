// What fixes the shape and meaning of a model's KV cache. Its fingerprint is part of every chunk
// key, so caches of models that differ in anything here can never be taken for one another.
//
// Thread-safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/export.h"
#include "base/ids.h"
#include "base/result.h"

namespace kdn {

enum class DType : std::uint8_t {
  kBf16 = 0,
  kFp16 = 1,
  kFp32 = 2,
  kFp8E4M3 = 3,
  kFp8E5M2 = 4,
};
[[nodiscard]] KDN_API std::size_t DTypeBytes(DType dtype);
[[nodiscard]] KDN_API std::string_view DTypeName(DType dtype);  // "bf16", "fp8_e4m3"

// What a plane holds. A KV group has k and v, or latent and rope (MLA), or state (recurrent).
enum class Plane : std::uint8_t { kK = 0, kV = 1, kLatent = 2, kRope = 3, kState = 4 };
inline constexpr std::size_t kPlaneCount = 5;
[[nodiscard]] KDN_API std::string_view PlaneName(Plane plane);

enum class AttentionKind : std::uint8_t {
  kGrouped = 0,  // grouped-query or multi-head attention: planes k and v
  kLatent = 1,   // MLA: planes latent and rope, one head
  kState = 2,    // recurrent layers: plane state
};

// Layers that share one shape and one paged pool. Most models have one group; hybrid models have
// several, and their layers may interleave.
struct KvGroup {
  AttentionKind attention = AttentionKind::kGrouped;
  std::vector<std::uint16_t> layers;  // ascending; each layer of the model is in exactly one group
  std::uint16_t kv_heads = 0;         // 1 for kLatent and kState
  std::uint16_t k_head_size = 0;      // values per head and token: of k, latent or state
  std::uint16_t v_head_size = 0;      // of v or rope; 0 for kState
  std::uint32_t window_tokens = 0;    // sliding window; 0: full attention

  friend bool operator==(const KvGroup&, const KvGroup&) = default;
};

enum class RotaryPairing : std::uint8_t { kNone = 0, kNeox = 1, kGptJ = 2 };
enum class RotaryScaling : std::uint8_t {
  kNone = 0,
  kLinear = 1,
  kLlama3 = 2,
  kYarn = 3,
  kDynamicNtk = 4,  // depends on the sequence's length: coded rotated, never moved
};

struct Rotary {
  RotaryPairing pairing = RotaryPairing::kNone;
  RotaryScaling scaling = RotaryScaling::kNone;
  std::uint16_t dims = 0;  // rotated values per head, from the head's front; even
  double base = 10000.0;
  // Parameters of the scaling, in the order in which its Hugging Face configuration lists them
  // (docs/format.md); unused ones are 0.
  double factor = 0.0;
  double low_frequency_factor = 0.0;
  double high_frequency_factor = 0.0;
  double original_context = 0.0;

  friend bool operator==(const Rotary&, const Rotary&) = default;
};

struct ModelSpec {
  std::string name;      // as the operator calls it, "meta-llama/Llama-3.1-8B"
  std::string revision;  // of the weights: a commit or a digest
  DType dtype = DType::kBf16;
  // Scales that fp8 values are to be multiplied with; 1 for other types.
  float k_scale = 1.0F;
  float v_scale = 1.0F;
  Rotary rotary;
  std::vector<KvGroup> groups;

  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

// kInvalidArgument says which field is out of base/limits.h, or which layer is missing or double.
[[nodiscard]] KDN_API Status ValidateModelSpec(const ModelSpec& spec);

// Layers of all groups together.
[[nodiscard]] KDN_API std::uint32_t LayerCount(const ModelSpec& spec);

// The group that `layer` is in. Requires: a valid spec, layer < LayerCount().
[[nodiscard]] KDN_API const KvGroup& GroupOfLayer(const ModelSpec& spec, std::uint32_t layer);

// Bytes of one token's values in all layers, heads and planes, uncompressed.
[[nodiscard]] KDN_API std::size_t BytesPerToken(const ModelSpec& spec);

// The canonical encoding, version 1 (docs/format.md): equal specs give equal bytes.
[[nodiscard]] std::vector<std::byte> EncodeModelSpec(const ModelSpec& spec);
// kDataLoss for bytes that EncodeModelSpec() would not have written.
[[nodiscard]] Result<ModelSpec> DecodeModelSpec(ConstBytes bytes);

// SHA-256 of EncodeModelSpec().
[[nodiscard]] KDN_API ModelFingerprint FingerprintOf(const ModelSpec& spec);

}  // namespace kdn
