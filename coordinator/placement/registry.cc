#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/placement/placement.h"
#include "coordinator/placement/rendezvous.h"

namespace kdn::coordinator {
namespace {

struct Policy {
  std::string_view name;
  std::unique_ptr<PlacementPolicy> (*make)();
};

// To add a placement policy, add a row. See docs/extending.md.
constexpr std::array kPolicies = {
    Policy{"rendezvous", MakeRendezvousPlacement},
};

}  // namespace

std::vector<std::string> PlacementPolicies() {
  std::vector<std::string> names;
  for (const Policy& policy : kPolicies) names.emplace_back(policy.name);
  return names;
}

Result<std::unique_ptr<PlacementPolicy>> MakePlacementPolicy(std::string_view name) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy.make();
  }
  return Error(Code::kNotFound, "no placement policy named '" + std::string(name) + "'");
}

}  // namespace kdn::coordinator
