// Chooses the nodes that new chunks go to. A policy ranks nodes that it is shown; it keeps no
// state, does no I/O and reads no clock, so that the same core runs in the simulator.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace kdn::coordinator {

// One alive node as a policy sees it.
struct PlacementNode {
  NodeId id{};
  HostId host;
  std::uint64_t weight = 0;  // room in bytes, reduced while a node is new
};

struct PlacementRequest {
  ChunkKey first;                // of the run of chunks that goes to one set of nodes
  std::span<const NodeId> near;  // where the chunk before `first` is; empty: nowhere, or new run
  std::uint32_t replicas = 1;    // wanted; fewer are returned if there are fewer nodes
};

class PlacementPolicy {
 public:
  virtual ~PlacementPolicy() = default;
  // Distinct nodes, first replica first; empty if no node has room.
  [[nodiscard]] virtual std::vector<NodeId> Place(const PlacementRequest& request,
                                                  std::span<const PlacementNode> nodes) const = 0;
};

// The names of the policies that this build has.
[[nodiscard]] std::vector<std::string> PlacementPolicies();

// kNotFound if no policy has this name.
[[nodiscard]] Result<std::unique_ptr<PlacementPolicy>> MakePlacementPolicy(std::string_view name);

}  // namespace kdn::coordinator
