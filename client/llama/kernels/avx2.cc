#include "client/llama/kernels/body.h"

namespace kdn::llama {

constinit const Kernels kAvx2Kernels = TableNamed("avx2");

}  // namespace kdn::llama
