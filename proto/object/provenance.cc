#include "proto/object/provenance.h"

namespace kdn {
namespace {

constexpr std::uint16_t kPermille = 1000;

// What does not belong to the kind is left out, so that equal provenances have equal bits.
Provenance Canonical(const Provenance& provenance) {
  switch (provenance.kind) {
    case ProvenanceKind::kUnknown:
      break;
    case ProvenanceKind::kBlended:
      return {ProvenanceKind::kBlended, Level::kDraft, provenance.recomputed_permille};
    case ProvenanceKind::kLossy:
      return {ProvenanceKind::kLossy, provenance.level, 0};
    case ProvenanceKind::kExact:
      return kExactProvenance;
  }
  return {};
}

}  // namespace

std::uint32_t ProvenanceRank(const Provenance& provenance) {
  const Provenance canonical = Canonical(provenance);
  const auto kind = static_cast<std::uint32_t>(canonical.kind) << 16;
  if (canonical.kind == ProvenanceKind::kBlended) return kind + canonical.recomputed_permille;
  return kind + static_cast<std::uint32_t>(canonical.level);
}

Provenance WorseOf(const Provenance& a, const Provenance& b) {
  return ProvenanceRank(b) < ProvenanceRank(a) ? b : a;
}

std::string ToString(const Provenance& provenance) {
  switch (provenance.kind) {
    case ProvenanceKind::kUnknown:
      break;
    case ProvenanceKind::kBlended:
      return "blended:" + std::to_string(provenance.recomputed_permille);
    case ProvenanceKind::kLossy:
      return "lossy:" + std::string(LevelName(provenance.level));
    case ProvenanceKind::kExact:
      return "exact";
  }
  return "unknown";
}

std::uint32_t PackProvenance(const Provenance& provenance) {
  const Provenance canonical = Canonical(provenance);
  return static_cast<std::uint32_t>(canonical.kind) |
         (static_cast<std::uint32_t>(canonical.level) << 8) |
         (static_cast<std::uint32_t>(canonical.recomputed_permille) << 16);
}

Result<Provenance> UnpackProvenance(std::uint32_t packed) {
  const std::uint32_t kind = packed & 0xFF;
  const std::uint32_t level = (packed >> 8) & 0xFF;
  const std::uint32_t permille = packed >> 16;
  if (kind > static_cast<std::uint32_t>(ProvenanceKind::kExact) || level >= kLevelCount ||
      permille > kPermille) {
    return Error(Code::kDataLoss, "provenance out of bounds");
  }
  const Provenance provenance{static_cast<ProvenanceKind>(kind), static_cast<Level>(level),
                              static_cast<std::uint16_t>(permille)};
  // A past at the exact level is no lossy one.
  const bool lossless_loss =
      provenance.kind == ProvenanceKind::kLossy && provenance.level == Level::kExact;
  if (lossless_loss || PackProvenance(provenance) != packed) {
    return Error(Code::kDataLoss, "provenance is not canonical");
  }
  return provenance;
}

}  // namespace kdn
