#include <array>
#include <string>

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

Result<std::unique_ptr<PlacementPolicy>> MakePlacementPolicy(std::string_view name) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy.make();
  }
  return Error(Code::kNotFound, "no placement policy named '" + std::string(name) + "'");
}

}  // namespace kdn::coordinator
