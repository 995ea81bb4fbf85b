#include "codec/kernels/select.h"

#include <algorithm>
#include <array>
#include <string>

namespace kdn::codec {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool (*supported)();  // Here, not in the table's file: that file may not run on this CPU.
};

bool Always() {
  return true;
}

#if defined(KDN_HAVE_X86_KERNELS)
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0;
}
bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512vbmi") != 0 &&
         __builtin_cpu_supports("avx512vbmi2") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
         __builtin_cpu_supports("bmi2") != 0;
}
#endif

// Slowest first. The only place that knows which tables a build has.
constexpr std::array kCandidates = {
    Candidate{&kScalarKernels, Always},
#if defined(KDN_HAVE_X86_KERNELS)
    Candidate{&kAvx2Kernels, HasAvx2},
    Candidate{&kAvx512Kernels, HasAvx512},
#endif
};

}  // namespace

std::vector<const Kernels*> SupportedKernels() {
  std::vector<const Kernels*> supported;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.supported()) supported.push_back(candidate.kernels);
  }
  return supported;
}

Result<const Kernels*> SelectKernels(std::string_view wanted) {
  if (wanted.empty()) return SupportedKernels().back();

  const auto it = std::find_if(kCandidates.begin(), kCandidates.end(),
                               [&](const Candidate& c) { return c.kernels->name == wanted; });
  if (it == kCandidates.end()) {
    return Error(Code::kNotFound, "no kernels named '" + std::string(wanted) + "' in this build");
  }
  if (!it->supported()) {
    return Error(Code::kFailedPrecondition,
                 "this CPU cannot run kernels '" + std::string(wanted) + "'");
  }
  return it->kernels;
}

}  // namespace kdn::codec
