// Works a plan of encoding through on the host, its warps lane by lane in lockstep: the same steps
// as on a GPU, and what tests hold against the CPU's encoder. Not meant to be fast.
//
// Thread-safety: pure functions of memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/lane/encode_planner.h"

namespace kdn::codec {

struct HostEncoded {
  std::vector<std::byte> out;
  std::vector<std::uint32_t> sizes;  // of each tile
};

// Requires: the plan's addresses are of host memory. `backwards`: units, warps and lanes take their
// turns from the last to the first, which must make no difference.
[[nodiscard]] HostEncoded EncodeOnHost(const EncodePlan& plan, bool backwards = false);

}  // namespace kdn::codec
