#include <array>
#include <string>

#include "storage/policy/eviction_policy.h"
#include "storage/policy/leaf_lru.h"

namespace kdn::storage {

std::span<const EvictionPolicyInfo> EvictionPolicies() {
  static constexpr std::array<EvictionPolicyInfo, 1> kPolicies{{
      {"leaf_lru", &MakeLeafLru},
  }};
  return kPolicies;
}

Result<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(std::string_view name) {
  std::string known;
  for (const EvictionPolicyInfo& info : EvictionPolicies()) {
    if (info.name == name) return info.make();
    known.append(known.empty() ? "" : ", ").append(info.name);
  }
  return Error(Code::kNotFound,
               "no eviction policy '" + std::string(name) + "'; there are: " + known);
}

}  // namespace kdn::storage
