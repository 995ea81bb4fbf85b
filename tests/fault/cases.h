// The fault cases of scripts/faults. Each runs a number of trials against real processes and says
// what it saw; none sleeps.
//
// Thread-safety: not safe; one case at a time.
#pragma once

#include <span>
#include <string>

#include "tests/fault/rig.h"

namespace kdn::fault {

struct CaseOptions {
  std::string program_folder;
  int trials = 100;
};

struct CaseOutcome {
  bool holds = false;
  int trials = 0;
  std::string worst;  // the figure to print: "slowest get 38 ms"
  std::string why;    // if it does not hold
};

struct FaultCase {
  const char* name;
  const char* promise;
  CaseOutcome (*run)(const CaseOptions& options);
};

[[nodiscard]] std::span<const FaultCase> FaultCases();

CaseOutcome NodeKill(const CaseOptions& options);
CaseOutcome AllNodesDead(const CaseOptions& options);
CaseOutcome CoordinatorKill(const CaseOptions& options);
CaseOutcome StoredBitFlip(const CaseOptions& options);
CaseOutcome WireBitFlip(const CaseOptions& options);
CaseOutcome Strangers(const CaseOptions& options);
CaseOutcome WrongSecrets(const CaseOptions& options);

[[nodiscard]] inline CaseOutcome Broken(int trials, std::string why) {
  return {false, trials, "", std::move(why)};
}

}  // namespace kdn::fault
