// The fault cases of scripts/faults. Each runs a number of trials against real processes and says
// what it saw; none sleeps.
//
// Thread-safety: not safe; one case at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tests/fault/rig.h"

namespace kdn::fault {

struct CaseOptions {
  std::string program_folder;
  std::string folder;  // of this case's cluster
  int trials = 100;
  std::uint64_t chunks = 1'000'000;  // that nodes hold when a coordinator has to learn of all
};

struct CaseOutcome {
  bool holds = false;
  int trials = 0;
  std::string worst;     // the figure to print: "slowest get 38 ms"
  std::string why;       // if it does not hold, or was skipped
  bool skipped = false;  // this machine cannot do it
};

struct FaultCase {
  const char* name;
  const char* promise;
  CaseOutcome (*run)(const CaseOptions& options);
};

[[nodiscard]] std::span<const FaultCase> FaultCases();

CaseOutcome NodeKill(const CaseOptions& options);
CaseOutcome AllNodesDead(const CaseOptions& options);
CaseOutcome NodeFreeze(const CaseOptions& options);
CaseOutcome MemoryLimit(const CaseOptions& options);
CaseOutcome SlowReaders(const CaseOptions& options);
CaseOutcome IdleConnections(const CaseOptions& options);
CaseOutcome ConnectionStorm(const CaseOptions& options);
CaseOutcome Freeze(const CaseOptions& options);
CaseOutcome RealChunks(const CaseOptions& options);
CaseOutcome CoordinatorKill(const CaseOptions& options);
CaseOutcome CoordinatorRestart(const CaseOptions& options);
CaseOutcome StoredBitFlip(const CaseOptions& options);
CaseOutcome WireBitFlip(const CaseOptions& options);
CaseOutcome SharedClientKill(const CaseOptions& options);
CaseOutcome Strangers(const CaseOptions& options);
CaseOutcome WrongSecrets(const CaseOptions& options);
CaseOutcome PutWithoutTicket(const CaseOptions& options);
CaseOutcome PacketLoss(const CaseOptions& options);
CaseOutcome OneWay(const CaseOptions& options);
CaseOutcome Blackhole(const CaseOptions& options);
CaseOutcome SynBlackhole(const CaseOptions& options);
CaseOutcome ResetStorm(const CaseOptions& options);
CaseOutcome KillLoopCase(const CaseOptions& options);
CaseOutcome CoordinatorPartition(const CaseOptions& options);
CaseOutcome ClientKill(const CaseOptions& options);
CaseOutcome DiskFull(const CaseOptions& options);
CaseOutcome DiskFills(const CaseOptions& options);
CaseOutcome DiskError(const CaseOptions& options);
CaseOutcome DiskSlow(const CaseOptions& options);

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

[[nodiscard]] inline CaseOutcome Skipped(std::string why) {
  return {true, 0, "", std::move(why), true};
}

}  // namespace kdn::fault
