// kdn-faults: injects faults into real clusters and says what happened. scripts/faults runs it.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "client/admin/local_cluster.h"
#include "tests/fault/cases.h"
#include "tests/fault/rig.h"
#include "tests/support/temp_dir.h"

namespace kdn::fault {
namespace {

// To add a case, add a row.
constexpr std::array kCases = {
    FaultCase{"node_kill",
              "node SIGKILL during gets and puts, two replicas: 0 failed, at most 50 ms more",
              NodeKill},
    FaultCase{"node_freeze",
              "node SIGSTOP: 0 failed gets, at most 250 ms more, and whole again after SIGCONT",
              NodeFreeze},
    FaultCase{"memory_limit", "a node near its control group's memory limit sheds, and lives",
              MemoryLimit},
    FaultCase{"slow_readers", "readers that take nothing: others' p99 is at most doubled",
              SlowReaders},
    FaultCase{"idle_connections", "10^4 idle connections: others' p99 is at most doubled",
              IdleConnections},
    FaultCase{"connection_storm", "connections without end: others' p99 is at most doubled",
              ConnectionStorm},
    FaultCase{"all_nodes_dead", "every call ends by its deadline, as a miss", AllNodesDead},
    FaultCase{"freeze", "nodes or coordinator stand still: every call ends by its deadline",
              Freeze},
    FaultCase{"real_chunks", "128 MiB at once are stored with sync, and a dead node loses nothing",
              RealChunks},
    FaultCase{"coordinator_kill",
              "reads of known locations go on; nothing acknowledged is lost by its restart",
              CoordinatorKill},
    FaultCase{"coordinator_restart",
              "killed with a million chunks: its directory is back in 3 s, no context is lost",
              CoordinatorRestart},
    FaultCase{"stored_bit_flip", "bits that change on disk are never delivered", StoredBitFlip},
    FaultCase{"wire_bit_flip", "bits that change on the wire are never delivered", WireBitFlip},
    FaultCase{"shared_client_kill",
              "a client dies while a node moves its bulk in shared memory: unmapped in 2 s",
              SharedClientKill},
    FaultCase{"strangers", "whatever comes before a Hello is refused and costs at most 64 KiB",
              Strangers},
    FaultCase{"wrong_secrets", "a wrong secret is refused; a foreign tenant's key is a miss",
              WrongSecrets},
    FaultCase{"put_without_ticket", "without the coordinator's ticket for it nothing is stored",
              PutWithoutTicket},
    FaultCase{"kill_loop",
              "nodes killed at any moment: 0 wrong, 0 lost of what was acknowledged as on disk",
              KillLoopCase},
    FaultCase{"packet_loss", "1 % and 10 % of packets lost: calls end in time, nothing is wrong",
              PacketLoss},
    FaultCase{"one_way", "who hears nothing of a peer still ends in time; replicas serve", OneWay},
    FaultCase{"blackhole", "connections on which nothing passes any more end in time", Blackhole},
    FaultCase{"syn_blackhole", "nobody waits for a connection beyond the deadline", SynBlackhole},
    FaultCase{"reset_storm", "connections are reset all the time: retried, nothing is wrong",
              ResetStorm},
    FaultCase{"coordinator_partition",
              "nodes cut off from the coordinator take no puts; nothing acknowledged is lost",
              CoordinatorPartition},
    FaultCase{"client_kill", "a client dies in the middle of a put: its room is back in 10 s",
              ClientKill},
    FaultCase{"disk_full", "no byte free: nodes start, puts refused, gets go on; back in 5 s",
              DiskFull},
    FaultCase{"disk_fills", "others fill the disk while nodes run: puts refused, nothing evicted",
              DiskFills},
    FaultCase{"disk_error", "EIO, failed syncs, ENOSPC: puts refused, gets go on; back in 5 s",
              DiskError},
    FaultCase{"disk_slow", "1 s per write: puts end in time, gets go on; back in 5 s", DiskSlow},
};

// In a child, so that an engine that crashes is an outcome like any other.
bool RunCase(const FaultCase& fault, CaseOptions options) {
  const test::TempDir folder;
  options.folder = folder.File("cluster");
  std::printf("%-18s %s\n", fault.name, fault.promise);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const CaseOutcome outcome = fault.run(options);
    if (outcome.skipped) {
      std::printf("%-18s SKIPPED: %s\n", "", outcome.why.c_str());
      std::fflush(stdout);
      _exit(0);
    }
    std::printf("%-18s %s after %d trials: %s\n", "", outcome.holds ? "holds" : "BROKEN",
                outcome.trials, outcome.holds ? outcome.worst.c_str() : outcome.why.c_str());
    std::fflush(stdout);
    _exit(outcome.holds ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) return WEXITSTATUS(status) == 0;
  std::printf("%-18s BROKEN: the engine died of signal %d\n", "", WTERMSIG(status));
  std::fflush(stdout);
  if (auto left = admin::LocalCluster::Attach(options.folder)) {
    [[maybe_unused]] const Status stopped = left->Stop(std::chrono::seconds(10));
  }
  return false;
}

int RunCases(const std::vector<std::string>& names, const CaseOptions& options) {
  int failed = 0;
  int run = 0;
  for (const FaultCase& fault : kCases) {
    if (!names.empty() && std::find(names.begin(), names.end(), fault.name) == names.end()) {
      continue;
    }
    ++run;
    failed += RunCase(fault, options) ? 0 : 1;
  }
  if (run == 0) std::fprintf(stderr, "kdn-faults: no such case; --list names them\n");
  std::printf("%d faults, %d broken\n", run, failed);
  return failed == 0 && run > 0 ? 0 : 1;
}

}  // namespace

std::span<const FaultCase> FaultCases() {
  return kCases;
}

}  // namespace kdn::fault

int main(int argc, char** argv) {
  kdn::fault::CaseOptions options;
  options.program_folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  std::vector<std::string> names;
  bool list = false;
  double late_ms = kdn::fault::late_max.count();
  CLI::App app("Injects faults into clusters of real processes.", "kdn-faults");
  app.add_option("CASE", names, "cases to run; default: all");
  app.add_option("--trials", options.trials, "trials of each case")->capture_default_str();
  app.add_option("--late-ms", late_ms, "how late a call may return after its deadline")
      ->capture_default_str();
  app.add_option("--chunks", options.chunks, "chunks that nodes hold in coordinator_restart")
      ->capture_default_str();
  app.add_flag("--list", list, "names the cases");
  CLI11_PARSE(app, argc, argv);
  kdn::fault::late_max = kdn::fault::Milliseconds(late_ms);
  if (!list) return kdn::fault::RunCases(names, options);
  for (const kdn::fault::FaultCase& fault : kdn::fault::FaultCases()) {
    std::printf("%-18s %s\n", fault.name, fault.promise);
  }
  return 0;
}
