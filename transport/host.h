// Which machine this process runs on, so that processes find out that they share memory and copies
// are kept on different machines.
//
// Thread-safety: pure functions.
#pragma once

#include "base/ids.h"
#include "base/random.h"

namespace kdn::transport {

// The same for all processes of one running kernel, in containers too, and for no others; drawn
// from `random` if the system does not say.
[[nodiscard]] HostId ThisHost(Random& random);

}  // namespace kdn::transport
