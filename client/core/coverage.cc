#include "client/core/coverage.h"

#include <algorithm>

namespace kdn::client {
namespace {

// The first of the layer's `heads` that no part has; heads.end() if there is none.
std::uint32_t FirstHeadMissing(std::span<const wire::PartLocation> parts, std::uint32_t layer,
                               const Range& heads) {
  std::uint32_t head = heads.first;
  for (bool found = true; found && head < heads.end();) {
    found = false;
    for (const wire::PartLocation& part : parts) {
      const Range& layers = part.shape.layers;
      const Range& has = part.shape.kv_heads;
      if (layer < layers.first || layer >= layers.end()) continue;
      if (head < has.first || head >= has.end()) continue;
      head = has.end();
      found = true;
    }
  }
  return std::min(head, heads.end());
}

}  // namespace

Range Intersection(const Range& a, const Range& b) {
  const std::uint32_t first = std::max(a.first, b.first);
  const std::uint32_t end = std::min(a.end(), b.end());
  if (end <= first) return {};
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - first)};
}

Range HeadsOfLayer(const ModelSpec& spec, std::uint32_t layer, const Range& kv_heads) {
  return Intersection(kv_heads, {0, GroupOfLayer(spec, layer).kv_heads});
}

bool PartsCover(std::span<const wire::PartLocation> parts, const KvCopy& memory) {
  const Range layers = memory.layers();
  for (std::uint32_t layer = layers.first; layer < layers.end(); ++layer) {
    if (!memory.HoldsLayer(layer)) continue;
    const Range heads = memory.HeadsOf(layer);
    if (FirstHeadMissing(parts, layer, heads) < heads.end()) return false;
  }
  return true;
}

}  // namespace kdn::client
