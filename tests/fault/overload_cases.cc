// A node whose control group has little memory left.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "tests/fault/cases.h"
#include "tests/fault/load.h"
#include "tests/fault/watch.h"

namespace kdn::fault {
namespace {

namespace fs = std::filesystem;

// A control group of our own with a memory limit, version 2 or 1. The processes in it are gone
// before it is.
class MemoryGroup {
 public:
  // Says why there is none.
  static Result<std::unique_ptr<MemoryGroup>> Make() {
    const std::string name = "/kdn-faults-" + std::to_string(getpid());
    for (const bool unified : {true, false}) {
      const std::string mount = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      std::unique_ptr<MemoryGroup> group(new MemoryGroup(mount + name, unified));
      std::error_code error;
      if (!fs::create_directory(group->folder_, error)) continue;
      group->made_ = true;
      if (group->Has("cgroup.procs") && group->Has(group->LimitFile())) return group;
    }
    return Error(Code::kPermissionDenied, "no right to make a control group with a memory limit");
  }
  ~MemoryGroup() {
    if (made_) rmdir(folder_.c_str());
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  // Runs the command whose words follow inside the group.
  [[nodiscard]] std::vector<std::string> launcher() const {
    return {"/bin/sh", "-c", "echo $$ > " + folder_ + "/cgroup.procs && exec \"$@\"", "sh"};
  }
  bool SetLimit(std::uint64_t bytes) {
    std::ofstream file(folder_ + "/" + LimitFile());
    file << bytes << std::flush;
    return file.good();
  }
  [[nodiscard]] std::uint64_t Used() const {
    return Number(unified_ ? "memory.current" : "memory.usage_in_bytes");
  }
  // Processes that the kernel has killed for the limit.
  [[nodiscard]] std::uint64_t Killed() const {
    std::ifstream file(folder_ + (unified_ ? "/memory.events" : "/memory.oom_control"));
    std::string name;
    for (std::uint64_t count = 0; file >> name >> count;) {
      if (name == "oom_kill") return count;
    }
    return 0;
  }

 private:
  MemoryGroup(std::string folder, bool unified) : folder_(std::move(folder)), unified_(unified) {}
  [[nodiscard]] const char* LimitFile() const {
    return unified_ ? "memory.max" : "memory.limit_in_bytes";
  }
  [[nodiscard]] bool Has(const std::string& file) const {
    return access((folder_ + "/" + file).c_str(), W_OK) == 0;
  }
  [[nodiscard]] std::uint64_t Number(const std::string& file) const {
    std::uint64_t number = 0;
    std::ifstream(folder_ + "/" + file) >> number;
    return number;
  }

  const std::string folder_;
  const bool unified_;
  bool made_ = false;
};

// What RocksDB alone would take, 96 MiB of write buffers, is more than the first: the node has to
// shed, and to hold what it has taken on back from the disk. Where that is slow because of others'
// work what is under way fills buffers all the same. There the limit leaves room for them, and only
// what holds on every machine is asked: that the node lives and serves.
constexpr std::uint64_t kHeadroomBytes = 48 * limits::kMiB;
constexpr std::uint64_t kHeadroomBesideOthersBytes = 112 * limits::kMiB;
constexpr std::chrono::seconds kPressTime{2};

struct Seen {
  std::uint64_t puts = 0;
  std::uint64_t refused = 0;  // or on one node only
  std::uint64_t gets = 0;
};

// Puts of 512 KiB on four threads and gets on a fifth, for a while. Says what broke.
std::string Press(Rig& rig, int trial, Seen& seen) {
  const TimePoint until = std::chrono::steady_clock::now() + kPressTime;
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> good{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> putting;
  for (int i = 0; i < 4; ++i) {
    putting.emplace_back([&] {
      while (std::chrono::steady_clock::now() < until) {
        const PutOutcome put = rig.Put(FirstNewOf(trial) + next.fetch_add(1));
        good += put.ok() && put.report.chunks_under_replicated == 0 ? 1U : 0U;
      }
    });
  }
  std::string why;
  std::thread getting([&] {
    while (!over.load() && why.empty()) {
      const GetOutcome got = rig.Get(seen.gets++ % 2);
      if (got.wrong) why = "a get delivered wrong bytes";
      if (!got.whole) {
        why = "a get of what two nodes have failed: " + std::string(CodeName(got.report.code));
      }
    }
  });
  for (std::thread& thread : putting) thread.join();
  over.store(true);
  getting.join();
  seen.puts += next.load();
  seen.refused += next.load() - good.load();
  return why;
}

}  // namespace

CaseOutcome MemoryLimit(const CaseOptions& options) {
  auto group = MemoryGroup::Make();
  if (!group) return {.why = group.error().message(), .skipped = true};
  const std::vector<admin::DaemonPlace> places = {{}, {"127.0.0.1", (*group)->launcher()}, {}};
  auto rig =
      Rig::Make(RigOf(options, {.nodes = 2, .node_settings = {kWithStatus}, .places = places}));
  if (!rig) return Broken(0, rig.error().ToString());
  for (std::uint64_t d = 0; d < 2; ++d) {
    if (!(*rig)->Put(d).ok() || (*rig)->ReplicasOf(d) != 2) {
      return Broken(0, "a put did not reach two replicas before any fault");
    }
  }
  if (!(*group)->SetLimit((*group)->Used() +
                          (BesideOthers() ? kHeadroomBesideOthersBytes : kHeadroomBytes))) {
    return Broken(0, "cannot set the limit");
  }
  Seen seen;
  double used_most = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    if (const std::string why = Press(**rig, trial, seen); !why.empty()) return Broken(trial, why);
    if ((*group)->Killed() > 0) return Broken(trial, "the kernel killed the node");
    const std::string metrics = MetricsOf(**rig, 1);
    if (metrics.empty()) return Broken(trial, "the node does not answer");
    used_most = std::max(used_most, SumOf(metrics, "kdn_node_memory_bytes") /
                                        SumOf(metrics, "kdn_node_memory_limit_bytes"));
  }
  const double shed = SumOf(MetricsOf(**rig, 1), R"(kdn_node_calls_shed_total{reason="memory")");
  if (shed == 0 && !BesideOthers()) {
    return Broken(options.trials, "nothing was shed: the limit was not come near to");
  }
  // The pressure ends with what caused it.
  const TimePoint begun = std::chrono::steady_clock::now();
  Milliseconds back{};
  for (std::uint64_t n = 0;; ++n) {
    const PutOutcome put = (*rig)->Put(FirstNewOf(options.trials) + n);
    back = std::chrono::steady_clock::now() - begun;
    if (put.ok() && put.report.chunks_under_replicated == 0) break;
    if (back > std::chrono::seconds(10)) {
      return Broken(options.trials,
                    "puts are refused for good: " + std::string(CodeName(put.report.code)) + ", " +
                        std::to_string(put.report.chunks_under_replicated) + " chunks on one node");
    }
  }
  char text[200];
  std::snprintf(text, sizeof(text),
                "never killed; %.0f requests shed, %lu of %lu puts not on both nodes, %lu gets "
                "whole; %.0f %% of the limit at most; puts again after %.0f ms",
                shed, static_cast<unsigned long>(seen.refused),
                static_cast<unsigned long>(seen.puts), static_cast<unsigned long>(seen.gets),
                100 * used_most, back.count());
  return {true, options.trials, text, ""};
}

}  // namespace kdn::fault
