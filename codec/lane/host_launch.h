// Works a plan through on the host, its warps lane by lane in lockstep: the same steps as on a GPU,
// and what tests hold against the CPU's decoder. Not meant to be fast.
//
// Thread-safety: pure functions of memory that the caller owns.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/lane/decode_planner.h"

namespace kdn::codec {

// Decodes all units and segments; one number each, as DecodePlan says. Requires: the plan's
// addresses are of host memory, bytes_dev that of `bytes`. `backwards`: units, warps and lanes take
// their turns from the last to the first, which must make no difference.
[[nodiscard]] std::vector<std::uint32_t> LaunchOnHost(const DecodePlan& plan,
                                                      bool backwards = false);

}  // namespace kdn::codec
