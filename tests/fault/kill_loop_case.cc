// Nodes that are killed again and again, at any moment of their lives, while one process writes
// down what was acknowledged and another holds the cluster to it.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/random.h"
#include "client/admin/process.h"
#include "tests/fault/cases.h"
#include "tests/fault/ledger.h"

namespace kdn::fault {
namespace {

// Node 2 acknowledges what is in its memory and writes it later.
constexpr std::size_t kLaterNode = 2;
constexpr std::uint32_t kNodes = 2;

// When a node is killed, in turns.
enum class Moment : std::uint8_t {
  kStarting,    // at some time of a start, recovery of its disk included
  kRegistered,  // soon after it is ready: it reports what it has, and its disk is being tidied up
  kSteady,      // after some more puts
  kCount,
};

class KillLoop {
 public:
  KillLoop(Rig& rig, std::string program_folder)
      : rig_(rig),
        program_(std::move(program_folder) + "/kdn-witness"),
        ledger_(rig.folder() + "/ledger") {}
  ~KillLoop() {
    if (writer_ > 0) [[maybe_unused]]
      const bool ended = EndWriter();
  }

  Status Begin() {
    KDN_RETURN_IF_ERROR(LetNodeWriteLater());
    const auto writer =
        admin::StartProcess({program_, "write", "--cluster", rig_.folder(), "--ledger", ledger_},
                            rig_.folder() + "/writer.log");
    if (!writer) return writer.error();
    writer_ = *writer;
    return AwaitPuts(2);
  }

  // One kill and what follows. Empty, or which promise was broken.
  std::string Round(int round) {
    const std::size_t node = 1 + static_cast<std::size_t>(round) % kNodes;
    const auto moment = static_cast<Moment>(static_cast<std::size_t>(round) / kNodes %
                                            static_cast<std::size_t>(Moment::kCount));
    const auto before = NewestDocument();
    admin::LocalCluster& cluster = rig_.cluster();
    Status status = moment == Moment::kRegistered ? Status() : AwaitPuts(random_.Next() % 8);
    if (status.ok()) status = cluster.Signal(node, SIGKILL);
    if (status.ok() && moment == Moment::kStarting) status = KillStarting(node);
    if (!status.ok()) return "cannot kill: " + status.ToString();
    const TimePoint begun = std::chrono::steady_clock::now();
    status = cluster.Restart(node);
    if (status.ok()) status = cluster.WaitAlive(kNodes, std::chrono::seconds(30));
    if (!status.ok()) return "the node did not come back: " + status.ToString();
    const Milliseconds start = std::chrono::steady_clock::now() - begun;
    slowest_start_ = std::max(slowest_start_, start);
    start_ = start_ == Milliseconds{} ? start : (start_ + start) / 2;
    if (moment == Moment::kRegistered) WaitSome(start_);
    return Verify(before > 50 ? before - 50 : 0);
  }

  std::string Finish() {
    if (!EndWriter()) return "the writer failed";
    return Verify(0);
  }

  [[nodiscard]] std::string ToString() const {
    return std::to_string(disk_) + " looks at documents acknowledged as on disk, 0 lost; " +
           std::to_string(memory_) + " at such in memory, " + std::to_string(memory_lost_) +
           " lost; " + std::to_string(others_) + " at others; 0 wrong; slowest return " +
           MillisecondsText(slowest_start_) + ", " + std::to_string(killed_starting_) +
           " kills during a start";
  }
  [[nodiscard]] std::uint64_t disk() const { return disk_; }

 private:
  Status LetNodeWriteLater() {
    const std::string path = rig_.folder() + "/node" + std::to_string(kLaterNode) + ".toml";
    std::ifstream in(path);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const std::string through = "write_mode = \"write_through\"";
    const std::size_t at = text.find(through);
    if (at == std::string::npos) return Status(Code::kInternal, "the node has no write_mode");
    text.replace(at, through.size(), "write_mode = \"write_back\"");
    std::ofstream(path, std::ios::trunc) << text;
    KDN_RETURN_IF_ERROR(rig_.cluster().Signal(kLaterNode, SIGTERM));
    KDN_RETURN_IF_ERROR(rig_.cluster().Restart(kLaterNode));
    return rig_.cluster().WaitAlive(kNodes, std::chrono::seconds(30));
  }

  // A moment that nothing announces, drawn evenly from the time given.
  void WaitSome(Milliseconds at_most) {
    const auto ms = static_cast<std::uint64_t>(std::max(1.0, at_most.count()));
    poll(nullptr, 0, static_cast<int>(random_.Next() % ms));
  }
  Status KillStarting(std::size_t node) {
    KDN_RETURN_IF_ERROR(rig_.cluster().Spawn(node));
    WaitSome(start_ == Milliseconds{} ? Milliseconds(300) : start_);
    ++killed_starting_;
    return rig_.cluster().Signal(node, SIGKILL);
  }

  [[nodiscard]] std::uint64_t NewestDocument() const {
    const auto ledger = ReadLedger(ledger_);
    return ledger && !ledger->empty() ? ledger->rbegin()->first : 0;
  }
  [[nodiscard]] std::size_t Acknowledged() const {
    const auto ledger = ReadLedger(ledger_);
    if (!ledger) return 0;
    return static_cast<std::size_t>(std::ranges::count_if(
        *ledger, [](const auto& entry) { return entry.second != Expected::kAnything; }));
  }
  Status AwaitPuts(std::uint64_t count) {
    const std::size_t until = Acknowledged() + count;
    const TimePoint deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (Acknowledged() < until) {
      if (std::chrono::steady_clock::now() >= deadline) {
        return Status(Code::kDeadlineExceeded, "no puts are acknowledged any more");
      }
      poll(nullptr, 0, 5);
    }
    return {};
  }

  std::string Verify(std::uint64_t from) {
    const std::string log = rig_.folder() + "/verify.log";
    std::ofstream(log, std::ios::trunc).close();
    const auto verifier = admin::StartProcess({program_, "verify", "--cluster", rig_.folder(),
                                               "--ledger", ledger_, "--from", std::to_string(from)},
                                              log);
    if (!verifier) return verifier.error().ToString();
    int status = 0;
    while (waitpid(*verifier, &status, 0) < 0 && errno == EINTR) {
    }
    std::ifstream said(log);
    for (std::string line; std::getline(said, line);) {
      std::istringstream words(line);
      std::string word;
      words >> word;
      if (word == "broken") return line.substr(word.size() + 1);
      std::uint64_t disk = 0;
      std::uint64_t memory = 0;
      std::uint64_t lost = 0;
      std::uint64_t others = 0;
      if (word != "held" || !(words >> disk >> memory >> lost >> others)) continue;
      disk_ += disk;
      memory_ += memory;
      memory_lost_ += lost;
      others_ += others;
      return "";
    }
    return "the verifier said nothing";
  }

  bool EndWriter() {
    const pid_t writer = std::exchange(writer_, 0);
    kill(writer, SIGTERM);
    int status = 0;
    while (waitpid(writer, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  Rig& rig_;
  const std::string program_;
  const std::string ledger_;
  pid_t writer_ = 0;
  SeededRandom random_{17};
  Milliseconds start_{};  // what a start has taken lately
  Milliseconds slowest_start_{};
  std::uint64_t disk_ = 0;
  std::uint64_t memory_ = 0;
  std::uint64_t memory_lost_ = 0;
  std::uint64_t others_ = 0;
  std::uint64_t killed_starting_ = 0;
};

}  // namespace

CaseOutcome KillLoopCase(const CaseOptions& options) {
  // Each document on one node only: what that one forgets is lost.
  auto rig = Rig::Make(RigOf(options, {.nodes = kNodes, .replicas = 1}));
  if (!rig) return Broken(0, rig.error().ToString());
  // A kill is cheaper than the trials of other cases.
  const int rounds = options.trials >= 100 ? 2 * options.trials : options.trials;
  KillLoop loop(**rig, options.program_folder);
  if (Status status = loop.Begin(); !status.ok()) return Broken(0, status.ToString());
  for (int round = 0; round < rounds; ++round) {
    if (const std::string why = loop.Round(round); !why.empty()) return Broken(round, why);
  }
  if (const std::string why = loop.Finish(); !why.empty()) return Broken(rounds, why);
  if (loop.disk() == 0) return Broken(rounds, "nothing was acknowledged as on disk");
  return {true, rounds, loop.ToString(), ""};
}

}  // namespace kdn::fault
