#include "client/llama/kernels/body.h"

namespace kdn::llama {

constinit const Kernels kGenericKernels = TableNamed("generic");

}  // namespace kdn::llama
