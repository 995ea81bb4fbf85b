#include "client/llama/kernels/body.h"

namespace kdn::llama {

constinit const Kernels kAvx512Kernels = TableNamed("avx512");

}  // namespace kdn::llama
