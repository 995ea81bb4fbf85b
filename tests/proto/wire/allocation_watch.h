// The largest single allocation since the last reset, in a program that links allocation_watch.cc,
// which replaces operator new.
//
// Thread-safety: safe.
#pragma once

#include <cstddef>

namespace kdn::test {

void ResetAllocationBytesMax();
[[nodiscard]] std::size_t AllocationBytesMax();

}  // namespace kdn::test
