// How a part is cut into layer groups and head groups.
#include <algorithm>

#include "proto/object/segment.h"

namespace kdn {
namespace {

// The end of the group of `size` that holds `number`, groups being counted from 0.
std::uint32_t GroupEnd(std::uint32_t number, std::uint32_t size) {
  return (number / size + 1) * size;
}

Range Between(std::uint32_t first, std::uint32_t end) {
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - first)};
}

}  // namespace

std::vector<Range> LayerGroups(const ModelSpec& spec, const Range& layers,
                               std::uint16_t layers_per_group) {
  std::vector<Range> groups;
  for (std::uint32_t first = layers.first; first < layers.end();) {
    const std::uint32_t end_max = std::min(layers.end(), GroupEnd(first, layers_per_group));
    const KvGroup* kv_group = &GroupOfLayer(spec, first);
    std::uint32_t end = first + 1;
    while (end < end_max && &GroupOfLayer(spec, end) == kv_group) ++end;
    groups.push_back(Between(first, end));
    first = end;
  }
  return groups;
}

std::vector<Range> HeadGroups(const Range& kv_heads, std::uint16_t heads_per_group) {
  std::vector<Range> groups;
  for (std::uint32_t first = kv_heads.first; first < kv_heads.end();) {
    const std::uint32_t end = std::min(kv_heads.end(), GroupEnd(first, heads_per_group));
    groups.push_back(Between(first, end));
    first = end;
  }
  return groups;
}

}  // namespace kdn
