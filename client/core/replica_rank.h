// Which replica to read from first.
//
// Thread-safety: pure functions.
#pragma once

#include <functional>
#include <vector>

#include "base/ids.h"
#include "proto/wire/lookup.h"

namespace kdn::client {

// The replicas that have the part's coarsest level, best first: those not to be avoided, then those
// with more in DRAM, and equals in an order that the key decides, so that readers of many chunks
// spread over the nodes.
[[nodiscard]] std::vector<wire::ReplicaLocation> RankReplicas(
    const wire::PartLocation& part, const ChunkKey& key,
    const std::function<bool(const wire::ReplicaLocation&)>& avoid);

}  // namespace kdn::client
