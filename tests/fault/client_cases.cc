// Clients that die: what they leave behind in nodes, room and mappings.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "client/admin/coordinator_rpc.h"
#include "client/admin/process.h"
#include "tests/fault/cases.h"

namespace kdn::fault {
namespace {

constexpr std::uint32_t kNodes = 2;
// Less than one ticket covers: nothing of a put that does not end is ever visible.
constexpr std::size_t kFileBytes = 24 * limits::kMiB;
// Of one of its chunks, in the arena's units.
constexpr std::uint64_t kChunkBytesMax = limits::kMiB + limits::kMiB / 8;
constexpr std::chrono::seconds kRoomBackMax{10};
constexpr std::chrono::seconds kUnmappedMax{2};
// Clients that were killed too soon or too late before a trial is given up.
constexpr int kMissesMax = 20;
// From here on a client is killed sooner: where gets are slow it has stored everything after a few.
constexpr int kLateMissesMax = 8;
constexpr int kTrialsPerCluster = 5;

struct Room {
  std::uint64_t bytes_used = 0;
  std::uint64_t objects = 0;
  TimePoint said;  // when the oldest of it was
};

Result<Room> RoomOf(const admin::CoordinatorRpc& coordinator) {
  Room room{.said = std::chrono::steady_clock::now()};
  const TimePoint asked = room.said;
  KDN_ASSIGN_OR_RETURN(const v1::NodesResponse nodes, coordinator.Nodes());
  for (const auto& node : nodes.nodes()) {
    room.bytes_used += node.dram_bytes_used();
    room.objects += node.objects();
    room.said = std::min(room.said, asked - std::chrono::milliseconds(node.silent_ms()));
  }
  return room;
}

// Bytes that are taken since `begin` and that no visible object has.
std::uint64_t Held(const Room& begin, const Room& now) {
  const std::uint64_t visible = now.objects - std::min(begin.objects, now.objects);
  const std::uint64_t claimed = begin.bytes_used + visible * kChunkBytesMax;
  return now.bytes_used - std::min(claimed, now.bytes_used);
}

// Asks until `enough` of what was said after `since`; false after `time`.
template <class Enough>
bool WaitRoom(const admin::CoordinatorRpc& coordinator, TimePoint since, Milliseconds time,
              const Enough& enough) {
  const TimePoint begun = std::chrono::steady_clock::now();
  while (Milliseconds(std::chrono::steady_clock::now() - begun) < time * kSlowdown) {
    const auto room = RoomOf(coordinator);
    if (room && room->said > since && enough(*room)) return true;
  }
  return false;
}

// Other bytes for each seed: a file that is there already is not stored again.
Status WriteRandomFile(const std::string& path, std::uint64_t seed) {
  std::vector<std::byte> bytes(kFileBytes);
  SeededRandom(seed).Fill(bytes);
  std::ofstream file(path, std::ios::binary);
  file << AsText(bytes);
  return file.flush() ? Status() : Status(Code::kInternal, "cannot write " + path);
}

// How many pieces of clients' memory the nodes have mapped.
std::size_t MappingsOf(Rig& rig) {
  std::size_t count = 0;
  for (const auto& daemon : rig.cluster().daemons()) {
    if (daemon.program != "kdn-node") continue;
    std::ifstream maps("/proc/" + std::to_string(daemon.pid) + "/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("/memfd:kdn") != std::string::npos) ++count;
    }
  }
  return count;
}

// Another client's gets go on meanwhile.
struct Beside {
  bool wrong = false;
  std::uint64_t missed = 0;
  Milliseconds slowest{};

  void Get(Rig& rig) {
    const GetOutcome got = rig.Get(0);
    wrong = wrong || got.wrong;
    missed += got.whole ? 0 : 1;
    slowest = std::max(slowest, got.took);
  }
  // Until it is so; false if it is not in time.
  template <class Condition>
  bool GetUntil(Rig& rig, Milliseconds time, const Condition& condition) {
    const TimePoint until =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<Duration>(time * kSlowdown);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      Get(rig);
    }
    return true;
  }
  [[nodiscard]] std::string Broken() const {
    if (wrong) return "a get delivered wrong bytes";
    return missed > 0 ? "a get of another client missed" : "";
  }
};

// Starts a client, waits until a node has mapped its memory and for some gets, and kills it. True
// if it was at work until then. Nothing is done beside the first wait: what follows it is short.
Result<bool> KillAtWork(Rig& rig, const std::vector<std::string>& argv, int gets, Beside& beside) {
  const std::size_t mapped = MappingsOf(rig);
  KDN_ASSIGN_OR_RETURN(const pid_t client, admin::StartProcess(argv, rig.folder() + "/client.log"));
  const TimePoint until = std::chrono::steady_clock::now() + std::chrono::seconds(20 * kSlowdown);
  bool seen = false;
  while (!seen && std::chrono::steady_clock::now() < until) seen = MappingsOf(rig) > mapped;
  for (int i = 0; i < gets; ++i) beside.Get(rig);
  ::kill(client, SIGKILL);
  int status = 0;
  ::waitpid(client, &status, 0);
  return seen && WIFSIGNALED(status);
}

// Kills a client in the middle of a put: that has taken room, and is not visible.
std::string KillPut(Rig& rig, const admin::CoordinatorRpc& coordinator, const CaseOptions& options,
                    int trial, Room& begin, TimePoint& killed, Beside& beside) {
  const std::string file = rig.folder() + "/file";
  for (int miss = 0; miss < kMissesMax; ++miss) {
    const auto seed = static_cast<std::uint64_t>(trial * kMissesMax + miss + 1);
    if (Status wrote = WriteRandomFile(file, seed); !wrote.ok()) return wrote.ToString();
    const auto asked = RoomOf(coordinator);
    if (!asked) return asked.error().ToString();
    begin = *asked;
    const auto at_work = KillAtWork(rig,
                                    {options.program_folder + "/kdnctl", "--cluster", rig.folder(),
                                     "put", file, "--name", "file-" + std::to_string(seed)},
                                    (trial + miss) % (miss < kLateMissesMax ? 8 : 3), beside);
    if (!at_work) return at_work.error().ToString();
    killed = std::chrono::steady_clock::now();
    std::uint64_t held = 0;
    if (!WaitRoom(coordinator, killed, std::chrono::seconds(10), [&](const Room& room) {
          held = Held(begin, room);
          return true;
        })) {
      return "nodes say nothing of their room";
    }
    if (*at_work && held > 0) return "";
  }
  return "no client was killed in the middle of a put";
}

// Trials `first` to `end` on a cluster of their own: what clients stored before they could be
// killed fills nodes, and on a full node a put takes no more room than it evicts. Empty, or what is
// wrong.
std::string KillPuts(CaseOptions options, int first, int end, Beside& beside,
                     Milliseconds& slowest) {
  options.folder += "-" + std::to_string(first);
  auto made = Rig::Make(RigOf(options, {.nodes = kNodes, .size = DocumentSize::kLarge}));
  if (!made) return made.error().ToString();
  Rig& rig = **made;
  if (!rig.Put(0).ok()) return "a put failed before any fault";
  const auto settings = rig.cluster().settings();
  if (!settings) return settings.error().ToString();
  const auto secret = admin::ClusterSecretOf(*settings);
  if (!secret) return secret.error().ToString();
  const admin::CoordinatorRpc coordinator(settings->grpc, *secret, std::chrono::seconds(5));
  beside.Get(rig);
  for (int trial = first; trial < end; ++trial) {
    Room begin;
    TimePoint killed;
    std::string why = KillPut(rig, coordinator, options, trial, begin, killed, beside);
    if (!why.empty()) return why;
    std::uint64_t held = 0;
    const bool back = WaitRoom(coordinator, killed, kRoomBackMax + late_max, [&](const Room& room) {
      held = Held(begin, room);
      return held == 0;
    });
    if (!back) return std::to_string(held >> 10) + " KiB are held after 10 s";
    slowest = std::max<Milliseconds>(slowest, std::chrono::steady_clock::now() - killed);
    if (why = beside.Broken(); !why.empty()) return why;
  }
  return "";
}

}  // namespace

CaseOutcome ClientKill(const CaseOptions& options) {
  Beside beside;
  Milliseconds slowest{};
  for (int first = 0; first < options.trials; first += kTrialsPerCluster) {
    const int end = std::min(first + kTrialsPerCluster, options.trials);
    std::string why = KillPuts(options, first, end, beside, slowest);
    if (!why.empty()) return Broken(first, std::move(why));
  }
  return {true, options.trials,
          "all room back within " + MillisecondsText(slowest) + ", slowest get of another client " +
              MillisecondsText(beside.slowest),
          ""};
}

CaseOutcome SharedClientKill(const CaseOptions& options) {
  auto made = Rig::Make(RigOf(options, {.nodes = 1, .size = DocumentSize::kLarge}));
  if (!made) return Broken(0, made.error().ToString());
  Rig& rig = **made;
  if (!rig.Put(0).ok()) return Broken(0, "a put failed before any fault");
  Beside beside;
  beside.Get(rig);
  const std::size_t own = MappingsOf(rig);
  if (own == 0) return Broken(0, "the node shares no memory with a client of its host");
  Milliseconds slowest{};
  for (int trial = 0; trial < options.trials; ++trial) {
    // Half of its operations are puts. What it stores is its own.
    const auto at_work = KillAtWork(rig,
                                    {options.program_folder + "/kdn-bench",
                                     "--cluster",
                                     rig.folder(),
                                     "--workload",
                                     "a",
                                     "--records",
                                     "32",
                                     "--size",
                                     "1MiB",
                                     "--replicas",
                                     "1",
                                     "--clients",
                                     "4",
                                     "--duration",
                                     "60",
                                     "--warmup",
                                     "0",
                                     "--staging-mib",
                                     "64",
                                     "--seed",
                                     std::to_string(trial + 1)},
                                    1 + trial % 8, beside);
    if (!at_work) return Broken(trial, at_work.error().ToString());
    if (!*at_work) return Broken(trial, "the client ended by itself");
    const TimePoint killed = std::chrono::steady_clock::now();
    if (!beside.GetUntil(rig, kUnmappedMax, [&] { return MappingsOf(rig) <= own; })) {
      return Broken(trial, "the node has the dead client's memory mapped still");
    }
    slowest = std::max<Milliseconds>(slowest, std::chrono::steady_clock::now() - killed);
    if (const std::string why = beside.Broken(); !why.empty()) return Broken(trial, why);
  }
  return {true, options.trials,
          "memory unmapped within " + MillisecondsText(slowest) +
              ", slowest get of another client " + MillisecondsText(beside.slowest),
          ""};
}

}  // namespace kdn::fault
