#include "client/core/tile_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <tuple>

namespace kdn::client {
namespace {

std::span<const Plane> PlanesOf(AttentionKind attention) {
  static constexpr std::array kGrouped = {Plane::kK, Plane::kV};
  static constexpr std::array kLatent = {Plane::kLatent, Plane::kRope};
  static constexpr std::array kState = {Plane::kState};
  switch (attention) {
    case AttentionKind::kGrouped:
      return kGrouped;
    case AttentionKind::kLatent:
      return kLatent;
    case AttentionKind::kState:
      return kState;
  }
  return {};
}

// Calls `visit` for the coordinates, level aside, of every tile of the object that intersects.
template <class Visit>
void ForEachTile(const ModelSpec& spec, const ObjectHeader& header, const Range& layers,
                 const Range& kv_heads, Visit visit) {
  for (const Range& layer_group : LayerGroups(spec, header.part.layers, header.layers_per_group)) {
    if (!layer_group.Intersects(layers)) continue;
    const KvGroup& group = GroupOfLayer(spec, layer_group.first);
    const std::uint32_t end = std::min<std::uint32_t>(header.part.kv_heads.end(), group.kv_heads);
    if (end <= header.part.kv_heads.first) continue;
    const Range heads{header.part.kv_heads.first,
                      static_cast<std::uint16_t>(end - header.part.kv_heads.first)};
    for (const Range& head_group : HeadGroups(heads, header.heads_per_group)) {
      if (!head_group.Intersects(kv_heads)) continue;
      for (const Plane plane : PlanesOf(group.attention)) visit(plane, layer_group, head_group);
    }
  }
}

using Place = std::tuple<std::uint16_t, std::uint16_t, std::uint16_t, std::uint16_t, Plane>;

Place PlaceOf(Plane plane, const Range& layers, const Range& heads) {
  return {layers.first, layers.count, heads.first, heads.count, plane};
}

}  // namespace

std::size_t ExpectedEntryCount(const ModelSpec& spec, const ObjectHeader& header, LevelSet levels,
                               const Range& layers, const Range& kv_heads) {
  std::size_t tiles = 0;
  ForEachTile(spec, header, layers, kv_heads, [&](Plane, const Range&, const Range&) { ++tiles; });
  return tiles * static_cast<std::size_t>(std::popcount(levels.bits()));
}

Result<std::vector<TileJob>> PlanTiles(const ModelSpec& spec, const ObjectHeader& header,
                                       LevelSet levels, const Range& layers, const Range& kv_heads,
                                       std::span<const TileEntry> entries) {
  std::map<Place, std::size_t> job_of;
  std::vector<TileJob> jobs;
  ForEachTile(spec, header, layers, kv_heads,
              [&](Plane plane, const Range& layer_group, const Range& head_group) {
                job_of.emplace(PlaceOf(plane, layer_group, head_group), jobs.size());
                jobs.emplace_back();
              });
  for (std::uint32_t i = 0; i < entries.size(); ++i) {
    const TileCoordinates& at = entries[i].at;
    const auto found = job_of.find(PlaceOf(at.plane, at.layers, at.kv_heads));
    if (found == job_of.end() || !levels.Has(at.level)) {
      return Error(Code::kDataLoss, "a read brought a tile that was not asked for");
    }
    jobs[found->second].entries.push_back(i);
  }
  for (TileJob& job : jobs) {
    LevelSet seen;
    for (const std::uint32_t i : job.entries) {
      if (seen.Has(entries[i].at.level)) return Error(Code::kDataLoss, "a tile came twice");
      seen.Add(entries[i].at.level);
    }
    if (seen != levels) return Error(Code::kDataLoss, "a read left out a tile");
    std::sort(job.entries.begin(), job.entries.end(), [&](std::uint32_t a, std::uint32_t b) {
      return entries[a].at.level < entries[b].at.level;
    });
  }
  return jobs;
}

}  // namespace kdn::client
