#include "coordinator/placement/rendezvous.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kdn::coordinator {
namespace {

// The finaliser of SplitMix64: every input bit reaches every output bit.
std::uint64_t Mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

// Schindelhauer and Schomaker's logarithmic method: a node wins with a probability proportional to
// its weight if it draws -weight / ln(u), u uniform in (0, 1).
double DrawOf(const ChunkKey& run, const PlacementNode& node) {
  const std::uint64_t hash = Mixed(IdHash{}(run) ^ Mixed(static_cast<std::uint32_t>(node.id)));
  const double uniform = (static_cast<double>(hash >> 11) + 0.5) / 9007199254740992.0;  // 2^53
  return -static_cast<double>(node.weight) / std::log(uniform);
}

struct Draw {
  bool near = false;
  double draw = 0;
  const PlacementNode* node = nullptr;
};

std::vector<NodeId> OnDistinctHosts(const std::vector<Draw>& draws, std::uint32_t replicas) {
  std::vector<NodeId> chosen;
  std::vector<HostId> hosts;
  for (const bool any_host : {false, true}) {
    for (const Draw& draw : draws) {
      if (chosen.size() >= replicas) return chosen;
      if (std::ranges::find(chosen, draw.node->id) != chosen.end()) continue;
      if (!any_host && std::ranges::find(hosts, draw.node->host) != hosts.end()) continue;
      chosen.push_back(draw.node->id);
      hosts.push_back(draw.node->host);
    }
  }
  return chosen;
}

class Rendezvous final : public PlacementPolicy {
 public:
  std::vector<NodeId> Place(const PlacementRequest& request,
                            std::span<const PlacementNode> nodes) const override {
    std::vector<Draw> draws;
    draws.reserve(nodes.size());
    for (const PlacementNode& node : nodes) {
      if (node.weight == 0) continue;
      // Where the chunk before lies comes first: a context that grows by a chunk or two a turn is
      // then read from few nodes.
      const bool near = std::ranges::find(request.near, node.id) != request.near.end();
      draws.push_back({near, DrawOf(request.first, node), &node});
    }
    std::ranges::sort(draws, [](const Draw& a, const Draw& b) {
      if (a.near != b.near) return a.near;
      return a.draw != b.draw ? a.draw > b.draw : a.node->id < b.node->id;
    });
    return OnDistinctHosts(draws, request.replicas);
  }
};

}  // namespace

std::unique_ptr<PlacementPolicy> MakeRendezvousPlacement() {
  return std::make_unique<Rendezvous>();
}

}  // namespace kdn::coordinator
