// Two kernel tables an input, the scalar one and another: each is compared in one execution of a
// few, and executions are that much faster.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>

#include "codec/kernels/select.h"

namespace kdn::codec {

// Both are the scalar one where there is no other.
[[nodiscard]] inline std::array<const Kernels*, 2> ChosenKernels(std::size_t choice) {
  static const auto all = SupportedKernels();
  const std::size_t others = all.size() - 1;
  return {all[0], all[others == 0 ? 0 : 1 + choice % others]};
}

}  // namespace kdn::codec
