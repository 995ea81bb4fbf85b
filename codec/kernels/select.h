// Which kernel table to use on this machine. Knows CPU features, nothing of what kernels do.
//
// Thread-safety: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec {

// The tables this build has and this CPU can run, slowest first; the first is kScalarKernels.
[[nodiscard]] std::vector<const Kernels*> SupportedKernels();

// The fastest supported table if `wanted` is empty, otherwise the one of that name.
// kNotFound for a name this build lacks, kFailedPrecondition for one this CPU cannot run: a typo
// in a config must not silently become the slow path.
[[nodiscard]] Result<const Kernels*> SelectKernels(std::string_view wanted);

}  // namespace kdn::codec
