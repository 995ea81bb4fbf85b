// Counts what a test program allocates with operator new, on all threads.
#pragma once

#include <cstddef>

namespace kdn::transport::test {

// Bytes since the program began; what was freed counts too.
[[nodiscard]] std::size_t AllocatedBytes();
// The largest single allocation since it was reset.
[[nodiscard]] std::size_t LargestAllocation();
void ResetLargestAllocation();

}  // namespace kdn::transport::test
