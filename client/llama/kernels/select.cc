#include <algorithm>
#include <string>

#include "client/llama/kernels/kernels.h"

namespace kdn::llama {
namespace {

constexpr const Kernels* kAll[] = {
    &kGenericKernels,
#ifdef __x86_64__
    &kAvx2Kernels,
    &kAvx512Kernels,
#endif
};

bool CpuRuns([[maybe_unused]] const Kernels* kernels) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (kernels == &kAvx2Kernels) return avx2;
  if (kernels == &kAvx512Kernels) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return true;
}

}  // namespace

std::vector<const Kernels*> SupportedKernels() {
  std::vector<const Kernels*> supported;
  std::ranges::copy_if(kAll, std::back_inserter(supported), CpuRuns);
  return supported;
}

Result<const Kernels*> SelectKernels(std::string_view wanted) {
  if (wanted.empty()) return SupportedKernels().back();
  const auto* found =
      std::ranges::find_if(kAll, [&](const Kernels* k) { return k->name == wanted; });
  if (found == std::end(kAll)) {
    return Error(Code::kNotFound, "no executor kernels '" + std::string(wanted) + "'");
  }
  if (!CpuRuns(*found)) {
    return Error(Code::kFailedPrecondition,
                 "this CPU cannot run executor kernels '" + std::string(wanted) + "'");
  }
  return *found;
}

}  // namespace kdn::llama
