// Processes that die: nodes, all nodes, the coordinator.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/fault/cases.h"

namespace kdn::fault {
namespace {

std::string MillisecondsText(Milliseconds ms) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f ms", ms.count());
  return text;
}

// Gets and puts that run beside what a case does, and what they saw.
class Load {
 public:
  Load(Rig& rig, std::uint64_t base_documents, std::uint64_t first_new)
      : thread_([this, &rig, base_documents, first_new] { Run(rig, base_documents, first_new); }) {}
  ~Load() { Stop(); }

  void Stop() {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
  }
  // Until `count` more gets have ended.
  void WaitGets(std::uint64_t count) {
    const std::uint64_t until = gets_.load() + count;
    for (std::uint64_t now = gets_.load(); now < until; now = gets_.load()) gets_.wait(now);
  }
  [[nodiscard]] std::uint64_t failed() const { return failed_.load(); }
  [[nodiscard]] bool wrong() const { return wrong_.load(); }
  [[nodiscard]] Milliseconds slowest() const { return slowest_; }
  [[nodiscard]] std::uint64_t gets() const { return gets_.load(); }
  [[nodiscard]] std::uint64_t puts_under_replicated() const { return puts_under_replicated_; }
  [[nodiscard]] const std::string& first_failure() const { return first_failure_; }
  [[nodiscard]] std::uint64_t puts_acknowledged() const { return puts_; }

 private:
  void Run(Rig& rig, std::uint64_t base_documents, std::uint64_t first_new) {
    std::vector<std::uint64_t> readable;
    for (std::uint64_t d = 0; d < base_documents; ++d) readable.push_back(d);
    for (std::uint64_t turn = 0; !stop_.load(); ++turn) {
      const std::uint64_t fresh = first_new + turn;
      if (turn % 4 == 0) {
        const client::StoreReport put = rig.Put(fresh);
        if (put.code == Code::kOk && put.chunks_under_replicated == 0) {
          ++puts_;
          readable.push_back(fresh);  // on two nodes: from now on a get of it may not fail
        } else if (put.code == Code::kOk) {
          ++puts_under_replicated_;
        }
      }
      const GetOutcome got = rig.Get(readable[turn % readable.size()]);
      if (!got.whole && failed_.fetch_add(1) == 0) {
        first_failure_ = "document " + std::to_string(readable[turn % readable.size()]) + " gave " +
                         std::to_string(got.tokens) + " tokens, " +
                         std::string(CodeName(got.report.code));
      }
      if (got.wrong) wrong_.store(true);
      slowest_ = std::max(slowest_, got.took);
      gets_.fetch_add(1);
      gets_.notify_all();
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> gets_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<bool> wrong_{false};
  Milliseconds slowest_{};                   // read after Stop()
  std::uint64_t puts_ = 0;                   // read after Stop()
  std::uint64_t puts_under_replicated_ = 0;  // read after Stop()
  std::string first_failure_;                // read after Stop()
  std::thread thread_;
};

}  // namespace

CaseOutcome NodeKill(const CaseOptions& options) {
  auto rig = Rig::Make({.program_folder = options.program_folder});
  if (!rig) return Broken(0, rig.error().ToString());
  constexpr std::uint64_t kDocuments = 8;
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    if ((*rig)->Put(d).code != Code::kOk) return Broken(0, "a put failed before any fault");
    if ((*rig)->ReplicasOf(d) != 2) return Broken(0, "a put did not reach two replicas");
  }
  Milliseconds slowest{};
  std::uint64_t gets = 0;
  std::uint64_t puts = 0;
  std::uint64_t under_replicated = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const std::size_t node = 1 + static_cast<std::size_t>(trial) % 3;
    Load load(**rig, kDocuments, 1000 + static_cast<std::uint64_t>(trial) * 1000);
    load.WaitGets(5);
    if (!(*rig)->cluster().Signal(node, SIGKILL).ok()) return Broken(trial, "cannot kill a node");
    load.WaitGets(20);
    load.Stop();
    if (load.wrong()) return Broken(trial, "a get delivered wrong bytes");
    if (load.failed() > 0) {
      return Broken(trial, std::to_string(load.failed()) + " of " + std::to_string(load.gets()) +
                               " gets failed; the first: " + load.first_failure());
    }
    slowest = std::max(slowest, load.slowest());
    gets += load.gets();
    puts += load.puts_acknowledged();
    under_replicated += load.puts_under_replicated();
    Status status = (*rig)->cluster().Restart(node);
    if (status.ok()) status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
    if (!status.ok()) return Broken(trial, "the node did not come back: " + status.ToString());
  }
  return {true, options.trials,
          "slowest get " + MillisecondsText(slowest) + ", " + std::to_string(gets) + " gets, " +
              std::to_string(puts) + " puts on two nodes, " + std::to_string(under_replicated) +
              " acknowledged as on one",
          ""};
}

CaseOutcome AllNodesDead(const CaseOptions& options) {
  auto rig = Rig::Make(
      {.program_folder = options.program_folder, .timeout = std::chrono::milliseconds(300)});
  if (!rig) return Broken(0, rig.error().ToString());
  if ((*rig)->Put(1).code != Code::kOk) return Broken(0, "a put failed before any fault");
  const client::LookupResult found = (*rig)->Lookup(1);
  for (std::size_t node = 1; node <= 3; ++node) {
    if (!(*rig)->cluster().Signal(node, SIGKILL).ok()) return Broken(0, "cannot kill a node");
  }
  Milliseconds over{};
  for (int trial = 0; trial < options.trials; ++trial) {
    // Halfway the coordinator goes too: then not even a lookup has anybody to ask.
    if (trial == options.trials / 2) {
      if (!(*rig)->cluster().Signal(0, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    }
    const GetOutcome known = (*rig)->Load(1, found);
    const GetOutcome asked = (*rig)->Get(1);
    const auto begun = std::chrono::steady_clock::now();
    const client::StoreReport put = (*rig)->Put(2 + static_cast<std::uint64_t>(trial));
    const Milliseconds put_took = std::chrono::steady_clock::now() - begun;
    if (known.tokens > 0 || asked.tokens > 0) return Broken(trial, "a get without nodes hit");
    if (put.code == Code::kOk) return Broken(trial, "a put without nodes was acknowledged");
    // A get is a lookup and a load, a put a plan and a store: each has a deadline of its own.
    const Milliseconds timeout = (*rig)->timeout();
    over = std::max({over, known.took - timeout, asked.took - 2 * timeout, put_took - 3 * timeout});
  }
  if (over.count() > 50) {
    return Broken(options.trials, "a call ended " + MillisecondsText(over) + " past its deadline");
  }
  const Milliseconds shown = std::max(over, Milliseconds(0));
  return {true, options.trials, "latest end " + MillisecondsText(shown) + " past a deadline", ""};
}

CaseOutcome CoordinatorKill(const CaseOptions& options) {
  auto rig = Rig::Make({.program_folder = options.program_folder});
  if (!rig) return Broken(0, rig.error().ToString());
  Milliseconds slowest_back{};
  std::vector<std::uint64_t> acknowledged;
  for (int trial = 0; trial < options.trials; ++trial) {
    const auto document = static_cast<std::uint64_t>(trial) + 1;
    if ((*rig)->Put(document).code == Code::kOk) acknowledged.push_back(document);
    const client::LookupResult known = (*rig)->Lookup(document);
    if (!(*rig)->cluster().Signal(0, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    const GetOutcome without = (*rig)->Load(document, known);
    if (!without.whole || without.wrong) {
      return Broken(trial, "a read of known locations failed without the coordinator");
    }
    const auto begun = std::chrono::steady_clock::now();
    Status status = (*rig)->cluster().Restart(0);
    if (status.ok()) status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
    if (!status.ok())
      return Broken(trial, "the coordinator did not come back: " + status.ToString());
    slowest_back = std::max<Milliseconds>(slowest_back, std::chrono::steady_clock::now() - begun);
    if (status = (*rig)->Reconnect(); !status.ok()) return Broken(trial, status.ToString());
    // All of the last ones and a few of the old ones, by tokens and by name.
    for (std::size_t i = 0; i < acknowledged.size(); ++i) {
      if (i % 10 != 0 && i + 3 < acknowledged.size()) continue;
      const GetOutcome got = (*rig)->Get(acknowledged[i]);
      const auto context =
          (*rig)->client().LookupContext((*rig)->model(), ContextName(acknowledged[i]), {});
      if (got.wrong) return Broken(trial, "a get delivered wrong bytes");
      if (!got.whole) return Broken(trial, "an acknowledged put is lost");
      if (context->Take().tokens_matched() != Rig::kTokens) {
        return Broken(trial, "an acknowledged context is lost");
      }
    }
  }
  if (acknowledged.size() < static_cast<std::size_t>(options.trials)) {
    return Broken(options.trials, "puts failed while the coordinator was there");
  }
  return {true, options.trials, "slowest return " + MillisecondsText(slowest_back), ""};
}

}  // namespace kdn::fault
