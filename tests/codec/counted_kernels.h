// The scalar kernels with a count of what they are asked to do, so that a test can hold work
// against a bound without a clock.
//
// Thread-safety: the counts are per thread.
#pragma once

#include <cstddef>

#include "codec/kernels/kernels.h"

namespace kdn::codec {

struct KernelWork {
  std::size_t symbols = 0;   // decoded by rans_decode and lean_decode
  std::size_t blocks = 0;    // of them
  std::size_t codes = 0;     // written by class_codes
  std::size_t values = 0;    // written by synthesise
  std::size_t products = 0;  // of numbers of a matrix and codes
};

extern const Kernels kCountedKernels;
// What this thread has had done since it last asked.
[[nodiscard]] KernelWork TakeWork();

}  // namespace kdn::codec
