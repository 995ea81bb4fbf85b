#include "client/core/replica_rank.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace kdn::client {

std::vector<wire::ReplicaLocation> RankReplicas(
    const wire::PartLocation& part, const ChunkKey& key,
    const std::function<bool(const wire::ReplicaLocation&)>& avoid) {
  struct Ranked {
    bool avoided;
    int levels_not_in_dram;
    std::size_t spread;
    wire::ReplicaLocation replica;
  };
  const LevelSet encoded = LevelsWithBytes(part.level_bytes);
  std::vector<Ranked> ranked;
  for (const wire::ReplicaLocation& replica : part.replicas) {
    const LevelSet has = replica.in_dram | replica.on_disk;
    if ((has & encoded).empty()) continue;
    const int missing =
        std::popcount(encoded.bits()) - std::popcount((replica.in_dram & encoded).bits());
    // A multiplicative hash of key and node: the same for all readers of one chunk, so that its
    // first choice stays in that node's DRAM, and even over chunks.
    const std::size_t spread =
        (IdHash{}(key) ^ (static_cast<std::size_t>(replica.node) * 0x9E3779B97F4A7C15U)) *
        0xBF58476D1CE4E5B9U;
    ranked.push_back({avoid(replica), missing, spread >> 16, replica});
  }
  std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return std::tie(a.avoided, a.levels_not_in_dram, a.spread) <
           std::tie(b.avoided, b.levels_not_in_dram, b.spread);
  });
  std::vector<wire::ReplicaLocation> replicas;
  replicas.reserve(ranked.size());
  for (const Ranked& r : ranked) replicas.push_back(r.replica);
  return replicas;
}

}  // namespace kdn::client
