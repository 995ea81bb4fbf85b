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
  std::string folder;  // of this case's cluster
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
CaseOutcome Freeze(const CaseOptions& options);
CaseOutcome RealChunks(const CaseOptions& options);
CaseOutcome CoordinatorKill(const CaseOptions& options);
CaseOutcome StoredBitFlip(const CaseOptions& options);
CaseOutcome WireBitFlip(const CaseOptions& options);
CaseOutcome Strangers(const CaseOptions& options);
CaseOutcome WrongSecrets(const CaseOptions& options);
CaseOutcome PutWithoutTicket(const CaseOptions& options);

[[nodiscard]] inline RigOptions RigOf(const CaseOptions& options, RigOptions rig) {
  rig.program_folder = options.program_folder;
  rig.folder = options.folder;
  return rig;
}

// The first of the documents that belong to this trial alone; they are short.
[[nodiscard]] inline std::uint64_t FirstNewOf(int trial) {
  return Rig::kFirstShort + 1'000'000 * static_cast<std::uint64_t>(trial);
}

[[nodiscard]] inline CaseOutcome Broken(int trials, std::string why) {
  return {false, trials, "", std::move(why)};
}

}  // namespace kdn::fault
