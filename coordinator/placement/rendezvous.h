// Weighted rendezvous hashing: every node draws a number from (run of chunks, node) and its room,
// the best draws win. Runs spread over the nodes in proportion to room, and a node that comes or
// goes moves only its own share. Replicas go to distinct hosts where there are enough.
//
// Thread-safety: immutable after construction.
#pragma once

#include <memory>

#include "coordinator/placement/placement.h"

namespace kdn::coordinator {

[[nodiscard]] std::unique_ptr<PlacementPolicy> MakeRendezvousPlacement();

}  // namespace kdn::coordinator
