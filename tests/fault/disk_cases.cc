// Disks that are full, fail or take long: puts are refused with a status that says why, gets go on,
// from disk too, and soon after the cause is gone puts are taken again.
#include <signal.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fault/cases.h"
#include "tests/fault/disk_lab.h"
#include "tests/fault/load.h"

namespace kdn::fault {
namespace {

constexpr std::uint32_t kNodes = 2;
constexpr std::uint64_t kDocuments = 4;
// From the moment space or the disk comes back until a put on two nodes is acknowledged.
constexpr std::chrono::seconds kBackMax{5};
// Read by nobody: the first put after space is back may still take the place of something cold.
constexpr std::uint64_t kColdDocuments = 16;
constexpr std::uint64_t kFirstCold = 100;
// Room for what RocksDB writes beside some documents of half a MiB, and for its log.
constexpr std::uint64_t kSmallDiskBytes = 192 << 20;

struct Seen {
  Latest latest;
  Milliseconds slowest_get{};
  Milliseconds slowest_back{};
  int refused = 0;
  int taken = 0;  // beside a fault, and kept
  int gets = 0;

  [[nodiscard]] std::string ToString() const {
    return std::to_string(refused) + " puts refused, " + std::to_string(taken) +
           " taken beside the fault, " + std::to_string(gets) +
           " gets beside them whole, slowest " + MillisecondsText(slowest_get) +
           "; puts taken again within " + MillisecondsText(slowest_back);
  }
};

std::string PutFirst(Rig& rig) {
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    if (!rig.Put(d).ok() || rig.ReplicasOf(d) != kNodes) return "a put failed before any fault";
  }
  return "";
}

// Memory that holds nothing: what is read comes from disk. `disks` are filled while no node runs:
// one that ends gives back what its log had been given before.
std::string StartAgain(Rig& rig, int signal, SmallDisks* disks = nullptr) {
  for (std::size_t node = 1; node <= kNodes; ++node) {
    if (!rig.cluster().Signal(node, signal).ok()) return "cannot end a node";
  }
  if (disks != nullptr) {
    if (Status full = disks->Fill(); !full.ok()) return full.ToString();
  }
  for (std::size_t node = 1; node <= kNodes; ++node) {
    const Status status = rig.cluster().Restart(node);
    if (!status.ok()) return "a node did not start: " + status.ToString();
  }
  const Status alive = rig.cluster().WaitAlive(kNodes, std::chrono::seconds(30));
  return alive.ok() ? "" : "nodes did not come back: " + alive.ToString();
}

std::string GetAll(Rig& rig, const char* when, Seen& seen) {
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    const GetOutcome got = rig.Get(d);
    seen.latest.Note(got.latest);
    if (got.wrong) return "a get delivered wrong bytes";
    if (!got.whole) {
      return std::string(when) + " a get of document " + std::to_string(d) + " gave " +
             std::to_string(got.tokens) + " tokens, " + std::string(CodeName(got.report.code)) +
             "; asked again, " + std::to_string(rig.Get(d).tokens);
    }
    ++seen.gets;
    seen.slowest_get = std::max(seen.slowest_get, got.took);
  }
  return "";
}

// A client is told why: for want of room, or that no disk takes it.
std::string JudgeRefusal(const PutOutcome& put, Code expected, Seen& seen) {
  seen.latest.Note(put.latest);
  if (put.ok()) return "a put was acknowledged that no disk has";
  if (put.report.code != expected) {
    return "a put was refused as " + std::string(CodeName(put.report.code)) + ", not " +
           std::string(CodeName(expected));
  }
  ++seen.refused;
  return "";
}

std::string PutsComeBack(Rig& rig, std::uint64_t document, Seen& seen) {
  const TimePoint begun = std::chrono::steady_clock::now();
  for (;; ++document) {
    const PutOutcome put = rig.Put(document);
    seen.latest.Note(put.latest);
    const Milliseconds took = std::chrono::steady_clock::now() - begun;
    if (took > Milliseconds(kBackMax) * kSlowdown) {
      return "puts go on failing as " + std::string(CodeName(put.report.code)) + " after " +
             MillisecondsText(took);
    }
    if (!put.ok() || put.report.chunks_under_replicated > 0) continue;
    seen.slowest_back = std::max(seen.slowest_back, took);
    return rig.Get(document).whole ? "" : "a put after the fault is lost";
  }
}

// Beside a fault: puts are refused, and gets go on.
std::string Refuse(Rig& rig, Code expected, std::uint64_t first_new, Seen& seen) {
  std::string why;
  for (int i = 0; i < 2 && why.empty(); ++i) {
    why = JudgeRefusal(rig.Put(first_new + static_cast<std::uint64_t>(i)), expected, seen);
    if (why.empty()) why = GetAll(rig, "beside refused puts", seen);
  }
  return why;
}

struct Faulty {
  std::unique_ptr<FaultyDisks> disks;
  std::unique_ptr<Rig> rig;
};

Result<Faulty> MakeFaulty(const CaseOptions& options) {
  Faulty faulty;
  KDN_ASSIGN_OR_RETURN(faulty.disks, FaultyDisks::Make(options.folder, options.program_folder));
  KDN_ASSIGN_OR_RETURN(
      faulty.rig,
      Rig::Make(
          RigOf(options, {.nodes = kNodes, .sync = true, .places = faulty.disks->places(kNodes)})));
  return faulty;
}

CaseOutcome CannotMake(const Status& status) {
  return status.code() == Code::kUnimplemented ? Skipped(status.message())
                                               : Broken(0, status.ToString());
}

}  // namespace

// Nodes start with not a byte free, after a kill or a clean stop.
CaseOutcome DiskFull(const CaseOptions& options) {
  auto disks = SmallDisks::Make(options.folder, kNodes, kSmallDiskBytes);
  if (!disks) return CannotMake(disks.error());
  auto rig = Rig::Make(RigOf(options, {.nodes = kNodes, .sync = true}));
  if (!rig) return Broken(0, rig.error().ToString());
  for (std::uint64_t d = 0; d < kColdDocuments; ++d) {
    if (!(*rig)->Put(kFirstCold + d).ok()) return Broken(0, "a put failed before any fault");
  }
  if (std::string why = PutFirst(**rig); !why.empty()) return Broken(0, why);
  Seen seen;
  for (int trial = 0; trial < options.trials; ++trial) {
    if (Status full = (*disks)->Fill(); !full.ok()) return Broken(trial, full.ToString());
    std::string why = StartAgain(**rig, trial % 2 == 0 ? SIGKILL : SIGTERM, disks->get());
    if (why.empty()) why = GetAll(**rig, "started on a full disk", seen);
    if (why.empty()) why = Refuse(**rig, Code::kResourceExhausted, FirstNewOf(trial), seen);
    (*disks)->Empty();
    if (why.empty()) why = PutsComeBack(**rig, FirstNewOf(trial) + 100, seen);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    if (!why.empty()) return Broken(trial, why);
  }
  return {true, options.trials, seen.ToString(), ""};
}

// Others fill the disks of nodes that run. What these have room for in files that they were given
// before is no room: the first put is refused, and nothing gives way to any.
CaseOutcome DiskFills(const CaseOptions& options) {
  auto disks = SmallDisks::Make(options.folder, kNodes, kSmallDiskBytes);
  if (!disks) return CannotMake(disks.error());
  auto rig = Rig::Make(RigOf(options, {.nodes = kNodes, .sync = true}));
  if (!rig) return Broken(0, rig.error().ToString());
  if (std::string why = PutFirst(**rig); !why.empty()) return Broken(0, why);
  Seen seen;
  for (int trial = 0; trial < options.trials; ++trial) {
    // Every other time memory is empty, and gets are of the disk.
    std::string why = trial % 2 == 0 ? StartAgain(**rig, SIGTERM) : "";
    if (Status full = (*disks)->Fill(); !full.ok()) return Broken(trial, full.ToString());
    for (int i = 0; i < 4 && why.empty(); ++i) {
      const auto first = FirstNewOf(trial) + 2 * static_cast<std::uint64_t>(i);
      why = Refuse(**rig, Code::kResourceExhausted, first, seen);
    }
    (*disks)->Empty();
    if (why.empty()) why = PutsComeBack(**rig, FirstNewOf(trial) + 100, seen);
    if (why.empty()) why = GetAll(**rig, "once there was space again", seen);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    if (!why.empty()) return Broken(trial, why);
  }
  return {true, options.trials, seen.ToString(), ""};
}

// Without space, without writes, without syncs: by turns.
CaseOutcome DiskError(const CaseOptions& options) {
  auto faulty = MakeFaulty(options);
  if (!faulty) return CannotMake(faulty.error());
  if (std::string why = PutFirst(*faulty->rig); !why.empty()) return Broken(0, why);
  constexpr DiskFault kKinds[] = {DiskFault::kBroken, DiskFault::kSyncFails, DiskFault::kFull};
  Seen seen;
  for (int trial = 0; trial < options.trials; ++trial) {
    std::string why = StartAgain(*faulty->rig, SIGTERM);
    const DiskFault fault = kKinds[trial % 3];
    const bool no_room = fault == DiskFault::kFull;
    faulty->disks->Set(fault);
    if (why.empty()) {
      why = Refuse(*faulty->rig, no_room ? Code::kResourceExhausted : Code::kUnavailable,
                   FirstNewOf(trial), seen);
    }
    faulty->disks->Set(DiskFault::kNone);
    if (why.empty()) why = PutsComeBack(*faulty->rig, FirstNewOf(trial) + 100, seen);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    // What was acknowledged meanwhile is on disk, though a sync before it had failed.
    if (why.empty()) why = StartAgain(*faulty->rig, SIGKILL);
    if (why.empty()) why = GetAll(*faulty->rig, "killed after the fault", seen);
    if (!why.empty()) return Broken(trial, why);
  }
  return {true, options.trials, seen.ToString(), ""};
}

CaseOutcome DiskSlow(const CaseOptions& options) {
  auto faulty = MakeFaulty(options);
  if (!faulty) return CannotMake(faulty.error());
  if (std::string why = PutFirst(*faulty->rig); !why.empty()) return Broken(0, why);
  Seen seen;
  for (int trial = 0; trial < options.trials; ++trial) {
    std::string why = StartAgain(*faulty->rig, SIGTERM);
    if (!why.empty()) return Broken(trial, why);
    faulty->disks->Set(DiskFault::kSlow);
    // Whether it is refused or taken late, it ends in time; reads from disk pass it.
    PutOutcome put;
    std::thread putting([&] { put = faulty->rig->Put(FirstNewOf(trial)); });
    why = GetAll(*faulty->rig, "beside a slow put", seen);
    putting.join();
    faulty->disks->Set(DiskFault::kNone);
    if (put.ok()) {
      ++seen.taken;
      seen.latest.Note(put.latest);
    } else if (why.empty()) {
      why = JudgeRefusal(put, Code::kDeadlineExceeded, seen);
    }
    if (why.empty()) why = PutsComeBack(*faulty->rig, FirstNewOf(trial) + 100, seen);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    if (!why.empty()) return Broken(trial, why);
  }
  return {true, options.trials, seen.ToString(), ""};
}

}  // namespace kdn::fault
