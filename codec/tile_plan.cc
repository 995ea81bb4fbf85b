#include "codec/tile_plan.h"

#include <algorithm>
#include <optional>

#include "base/limits.h"

namespace kdn::codec {
namespace {

Range Intersection(const Range& a, const Range& b) {
  const std::uint32_t first = std::max(a.first, b.first);
  const std::uint32_t end = std::min(a.end(), b.end());
  if (end <= first) return Range{};
  return Range{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - first)};
}

// The two planes of a group, in PagedKv's order.
constexpr Plane PlaneAt(AttentionKind attention, std::size_t index) {
  switch (attention) {
    case AttentionKind::kGrouped:
      return index == 0 ? Plane::kK : Plane::kV;
    case AttentionKind::kLatent:
      return index == 0 ? Plane::kLatent : Plane::kRope;
    case AttentionKind::kState:
      return Plane::kState;
  }
  return Plane::kState;
}

std::optional<std::size_t> PlaneIndex(const KvGroup& group, Plane plane) {
  for (std::size_t i = 0; i < PlaneCountOf(group); ++i) {
    if (PlaneAt(group.attention, i) == plane) return i;
  }
  return std::nullopt;
}

// The group that has all of `layers`, if one has.
const KvGroup* GroupOfLayers(const ModelSpec& spec, const Range& layers) {
  if (layers.count == 0 || layers.end() > LayerCount(spec)) return nullptr;
  const KvGroup* group = &GroupOfLayer(spec, layers.first);
  for (std::uint32_t layer = layers.first; layer < layers.end(); ++layer) {
    if (&GroupOfLayer(spec, layer) != group) return nullptr;
  }
  return group;
}

}  // namespace

std::size_t PlaneCountOf(const KvGroup& group) {
  return group.attention == AttentionKind::kState || group.v_head_size == 0 ? 1 : 2;
}

Status CheckHeader(const ModelSpec& spec, const ObjectHeader& header) {
  const auto refuse = [](const char* why) { return Status(Code::kInvalidArgument, why); };
  if (header.dtype != spec.dtype) return refuse("the object's dtype is not the model's");
  if (header.token_count == 0 || header.token_count > limits::kTokensPerChunkMax) {
    return refuse("token_count is out of bounds");
  }
  if (header.layers_per_group == 0 || header.heads_per_group == 0) {
    return refuse("layers_per_group and heads_per_group must be > 0");
  }
  const PartShape& part = header.part;
  if (part.layers.count == 0 || part.layers.end() > LayerCount(spec)) {
    return refuse("the part has layers that the model has not");
  }
  std::uint32_t heads = 0;
  for (const KvGroup& group : spec.groups) heads = std::max<std::uint32_t>(heads, group.kv_heads);
  if (part.kv_heads.count == 0 || part.kv_heads.end() > heads) {
    return refuse("the part has KV heads that the model has not");
  }
  return Status();
}

std::vector<TileCoordinates> TilesOf(const ModelSpec& spec, const ObjectHeader& header,
                                     Level level) {
  std::vector<TileCoordinates> tiles;
  for (const Range& layers : LayerGroups(spec, header.part.layers, header.layers_per_group)) {
    const KvGroup& group = GroupOfLayer(spec, layers.first);
    const Range held = Intersection(header.part.kv_heads, Range{0, group.kv_heads});
    if (held.count == 0) continue;
    for (const Range& heads : HeadGroups(held, header.heads_per_group)) {
      for (std::size_t i = 0; i < PlaneCountOf(group); ++i) {
        tiles.push_back({.level = level,
                         .plane = PlaneAt(group.attention, i),
                         .layers = layers,
                         .kv_heads = heads});
      }
    }
  }
  return tiles;
}

Result<TilePlace> PlaceOf(const ModelSpec& spec, const ObjectHeader& header,
                          const TileCoordinates& at) {
  const KvGroup* group = GroupOfLayers(spec, at.layers);
  if (group == nullptr || !header.part.layers.Contains(at.layers)) {
    return Error(Code::kDataLoss, "a tile names layers that its part has not");
  }
  const Range held = Intersection(header.part.kv_heads, Range{0, group->kv_heads});
  if (at.kv_heads.count == 0 || !held.Contains(at.kv_heads)) {
    return Error(Code::kDataLoss, "a tile names KV heads that its part has not");
  }
  const std::optional<std::size_t> plane = PlaneIndex(*group, at.plane);
  if (!plane) return Error(Code::kDataLoss, "a tile names a plane that its layers have not");

  TilePlace place;
  place.shape = {.dtype = header.dtype,
                 .layers = at.layers.count,
                 .heads = at.kv_heads.count,
                 .tokens = header.token_count,
                 .head_size = *plane == 0 ? group->k_head_size : group->v_head_size};
  place.group = static_cast<std::size_t>(group - spec.groups.data());
  place.plane = *plane;
  const auto layer = std::lower_bound(group->layers.begin(), group->layers.end(), at.layers.first);
  place.first_layer = static_cast<std::size_t>(layer - group->layers.begin());
  if (place.shape.raw_bytes() > limits::kTileBytesMax) {
    return Error(Code::kDataLoss, "a tile is larger than the limit");
  }
  return place;
}

}  // namespace kdn::codec
