// How cached values came to be. Kept in every object, asked for with a floor in every lookup: a
// cache over a lossy or blended past must not silently pass for one that was computed exactly.
#pragma once

#include <cstdint>
#include <string>

#include "base/export.h"
#include "proto/object/levels.h"

namespace kdn {

enum class ProvenanceKind : std::uint8_t {
  kUnknown = 0,  // the engine did not say: the lowest
  kBlended = 1,  // only a share of the tokens was recomputed over a past from elsewhere
  kLossy = 2,    // prefilled over values that had been decoded at a lossy level
  kExact = 3,    // prefilled over exact values
};

// Four bytes on the wire: kind, level, recomputed share.
struct Provenance {
  ProvenanceKind kind = ProvenanceKind::kUnknown;
  Level level = Level::kDraft;            // of kLossy: the coarsest level in the past
  std::uint16_t recomputed_permille = 0;  // of kBlended: the share r of recomputed tokens

  friend bool operator==(const Provenance&, const Provenance&) = default;
};

inline constexpr Provenance kExactProvenance{ProvenanceKind::kExact, Level::kExact, 0};

// Orders provenances from worst to best; equal ranks are equally good.
[[nodiscard]] std::uint32_t ProvenanceRank(const Provenance& provenance);

// The worse of two: what holds for values computed over both.
[[nodiscard]] Provenance WorseOf(const Provenance& a, const Provenance& b);

// "exact", "lossy:standard", "blended:150", "unknown".
[[nodiscard]] KDN_API std::string ToString(const Provenance& provenance);

[[nodiscard]] std::uint32_t PackProvenance(const Provenance& provenance);
// kDataLoss for bits that name no provenance.
[[nodiscard]] Result<Provenance> UnpackProvenance(std::uint32_t packed);

}  // namespace kdn
