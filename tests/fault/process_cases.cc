// Processes that die or stand still: nodes, all nodes, the coordinator.
#include <signal.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fault/cases.h"
#include "tests/fault/load.h"

namespace kdn::fault {
namespace {

// Puts documents 0 to `count` - 1, each on two nodes. Says what is wrong otherwise.
Status PutFirst(Rig& rig, std::uint64_t count) {
  for (std::uint64_t d = 0; d < count; ++d) {
    const PutOutcome put = rig.Put(d);
    if (!put.ok()) {
      return Status(put.report.code, "a put failed before any fault");
    }
    if (rig.ReplicasOf(d) != 2) {
      return Status(Code::kInternal, "a put did not reach two replicas before any fault");
    }
  }
  return {};
}

// Why the calls that were under way broke a promise that holds under every fault; empty: none.
std::string BrokenPromiseOf(const Load& load) {
  if (load.wrong()) return "a get delivered wrong bytes";
  if (load.latest().Broken()) return load.latest().ToString();
  return "";
}

std::string FailedGetsOf(const Load& load) {
  return std::to_string(load.failed()) + " of " + std::to_string(load.gets()) +
         " gets failed; the first: " + load.first_failure();
}

}  // namespace

CaseOutcome NodeKill(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  constexpr std::uint64_t kDocuments = 6;
  if (Status put = PutFirst(**rig, kDocuments); !put.ok()) return Broken(0, put.ToString());
  Milliseconds worst{};
  ExtraLatency extra;
  std::uint64_t gets = 0;
  std::uint64_t puts = 0;
  std::uint64_t under_replicated = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const std::size_t node = 1 + static_cast<std::size_t>(trial) % 3;
    Load load(**rig, {.documents = kDocuments, .first_new = FirstNewOf(trial)});
    load.WaitGets(6);
    const std::uint64_t calm = load.gets();
    if (!(*rig)->cluster().Signal(node, SIGKILL).ok()) return Broken(trial, "cannot kill a node");
    load.WaitGets(12);
    load.Stop();
    if (const std::string why = BrokenPromiseOf(load); !why.empty()) return Broken(trial, why);
    if (load.failed() > 0) return Broken(trial, FailedGetsOf(load));
    const Milliseconds beyond = extra.WorstOf(load.times(), calm);
    worst = std::max(worst, beyond);
    if (worst > late_max && !BesideOthers()) {
      return Broken(trial,
                    "a get took " + MillisecondsText(worst) + " more than without the fault");
    }
    // A put that loses a node goes on with the other one, or says so: it never just fails.
    if (load.puts() != load.stored().size() + load.under_replicated()) {
      return Broken(trial, "a put failed though a node of its two was there");
    }
    gets += load.gets();
    puts += load.stored().size();
    under_replicated += load.under_replicated();
    Status status = (*rig)->cluster().Restart(node);
    if (status.ok()) status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
    if (!status.ok()) return Broken(trial, "the node did not come back: " + status.ToString());
  }
  return {true, options.trials,
          "at most " + MillisecondsText(worst) + " more for a get, " + std::to_string(gets) +
              " gets, " + std::to_string(puts) + " puts on two nodes, " +
              std::to_string(under_replicated) + " acknowledged as on one",
          ""};
}

CaseOutcome AllNodesDead(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  if (Status put = PutFirst(**rig, 1); !put.ok()) return Broken(0, put.ToString());
  const client::LookupResult found = (*rig)->Lookup(0);
  if (Status status = (*rig)->Reconnect(std::chrono::milliseconds(300)); !status.ok()) {
    return Broken(0, status.ToString());
  }
  for (std::size_t node = 1; node <= 3; ++node) {
    if (!(*rig)->cluster().Signal(node, SIGKILL).ok()) return Broken(0, "cannot kill a node");
  }
  Latest latest;
  for (int trial = 0; trial < options.trials; ++trial) {
    // Halfway the coordinator goes too: then not even a lookup has anybody to ask.
    if (trial == options.trials / 2) {
      if (!(*rig)->cluster().Signal(0, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    }
    const GetOutcome known = (*rig)->Load(0, found);
    const GetOutcome asked = (*rig)->Get(0);
    const PutOutcome put = (*rig)->Put(FirstNewOf(trial));
    if (known.tokens > 0 || asked.tokens > 0) return Broken(trial, "a get without nodes hit");
    if (put.ok()) return Broken(trial, "a put without nodes was acknowledged");
    for (const Latest& each : {known.latest, asked.latest, put.latest}) latest.Note(each);
    if (latest.Broken()) return Broken(trial, latest.ToString());
  }
  return {true, options.trials, latest.ToString(), ""};
}

// A process that is stopped keeps its connections, and its kernel goes on accepting: nothing
// refuses, nothing answers. In turns one node, all nodes, the coordinator.
CaseOutcome Freeze(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  constexpr std::uint64_t kDocuments = 2;
  if (Status put = PutFirst(**rig, kDocuments); !put.ok()) return Broken(0, put.ToString());
  if (Status status = (*rig)->Reconnect(std::chrono::milliseconds(250)); !status.ok()) {
    return Broken(0, status.ToString());
  }
  Latest latest;
  Milliseconds slowest_back{};
  std::uint64_t missed = 0;
  std::uint64_t gets = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const auto turn = static_cast<std::size_t>(trial);
    std::vector<std::size_t> frozen = {1 + turn / 3 % 3};
    if (trial % 3 == 1) frozen = {1, 2, 3};
    if (trial % 3 == 2) frozen = {0};
    // Every other put is a large one: it is still being sent when nobody takes it any more.
    Load load(**rig, {.documents = kDocuments, .first_new = FirstNewOf(trial), .put_every = 2});
    load.WaitGets(1);
    for (const std::size_t daemon : frozen) {
      if (!(*rig)->cluster().Signal(daemon, SIGSTOP).ok()) return Broken(trial, "cannot stop it");
    }
    const PutOutcome put = (*rig)->Put(kDocuments + turn);
    load.WaitGets(1);
    for (const std::size_t daemon : frozen) {
      if (!(*rig)->cluster().Signal(daemon, SIGCONT).ok()) return Broken(trial, "cannot wake it");
    }
    const TimePoint woken = std::chrono::steady_clock::now();
    load.Stop();
    if (const std::string why = BrokenPromiseOf(load); !why.empty()) return Broken(trial, why);
    for (const Latest& each : {load.latest(), put.latest}) latest.Note(each);
    if (latest.Broken()) return Broken(trial, latest.ToString());
    missed += load.failed();
    gets += load.gets();
    Status status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
    if (!status.ok()) return Broken(trial, "it did not come back: " + status.ToString());
    // A client finds back by itself, and soon.
    for (std::uint64_t d = 0; d < kDocuments;) {
      const GetOutcome got = (*rig)->Get(d);
      if (got.wrong) return Broken(trial, "a get delivered wrong bytes");
      latest.Note(got.latest);
      if (latest.Broken()) return Broken(trial, latest.ToString());
      if (got.whole) ++d;
      slowest_back = std::max<Milliseconds>(slowest_back, std::chrono::steady_clock::now() - woken);
      if (slowest_back > std::chrono::seconds(10)) return Broken(trial, "gets go on missing");
    }
  }
  return {true, options.trials,
          latest.ToString() + ", " + std::to_string(missed) + " of " + std::to_string(gets) +
              " gets missed, all whole again within " + MillisecondsText(slowest_back),
          ""};
}

// What a real model writes at once, on disk before it is acknowledged. Every other time a node dies
// meanwhile: then what was acknowledged is there, and nothing is wrong.
CaseOutcome RealChunks(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.size = DocumentSize::kReal, .sync = true}));
  if (!rig) return Broken(0, rig.error().ToString());
  // A trial moves 100 times what those of other cases do.
  const int trials = std::max(1, options.trials / 10);
  Milliseconds slowest{};
  std::uint32_t kept = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const auto document = static_cast<std::uint64_t>(trial);
    const bool kill = trial % 2 == 1;
    PutOutcome put;
    const TimePoint begun = std::chrono::steady_clock::now();
    std::thread putting([&] { put = (*rig)->Put(document); });
    if (kill && !(*rig)->cluster().Signal(1 + document % 3, SIGKILL).ok()) {
      putting.join();
      return Broken(trial, "cannot kill a node");
    }
    putting.join();
    slowest = std::max<Milliseconds>(slowest, std::chrono::steady_clock::now() - begun);
    if (!kill && !put.ok()) {
      return Broken(trial, "a put of " + std::to_string(put.report.bytes_raw >> 20) + " MiB gave " +
                               std::string(CodeName(put.report.code)) + ", " +
                               std::to_string(put.report.chunks_failed) + " chunks failed");
    }
    if (kill) {
      Status status = (*rig)->cluster().Restart(1 + document % 3);
      if (status.ok()) status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
      if (!status.ok()) return Broken(trial, "the node did not come back: " + status.ToString());
    }
    const GetOutcome got = (*rig)->Get(document);
    if (got.wrong) return Broken(trial, "a get delivered wrong bytes");
    if (put.ok() && !got.whole) return Broken(trial, "an acknowledged put is lost");
    kept += kill && put.ok() ? 1 : 0;
  }
  return {true, trials,
          "slowest put of 128 MiB " + MillisecondsText(slowest) + "; " + std::to_string(kept) +
              " of " + std::to_string(trials / 2) + " survived the death of a node",
          ""};
}

CaseOutcome CoordinatorKill(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.timeout = std::chrono::milliseconds(1000)}));
  if (!rig) return Broken(0, rig.error().ToString());
  constexpr std::uint64_t kDocuments = 4;
  if (Status put = PutFirst(**rig, kDocuments); !put.ok()) return Broken(0, put.ToString());
  std::vector<client::LookupResult> known;
  std::vector<std::uint64_t> acknowledged;
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    known.push_back((*rig)->Lookup(d));
    acknowledged.push_back(d);
  }
  Milliseconds slowest_back{};
  std::uint64_t puts = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    // Puts and reads of known locations are under way when it dies, and while it is away.
    Load load(
        **rig,
        {.documents = kDocuments, .first_new = FirstNewOf(trial), .put_every = 2, .known = known});
    load.WaitGets(3);
    if (!(*rig)->cluster().Signal(0, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    load.WaitGets(3);
    const TimePoint begun = std::chrono::steady_clock::now();
    Status status = (*rig)->cluster().Restart(0);
    if (status.ok()) status = (*rig)->cluster().WaitAlive(3, std::chrono::seconds(30));
    if (!status.ok()) {
      return Broken(trial, "the coordinator did not come back: " + status.ToString());
    }
    slowest_back = std::max<Milliseconds>(slowest_back, std::chrono::steady_clock::now() - begun);
    load.Stop();
    if (const std::string why = BrokenPromiseOf(load); !why.empty()) return Broken(trial, why);
    if (load.failed() > 0) {
      return Broken(trial, "reads of known locations: " + FailedGetsOf(load));
    }
    if (load.stored().empty()) return Broken(trial, "no put succeeded, before or after");
    puts += load.puts();
    acknowledged.insert(acknowledged.end(), load.stored().begin(), load.stored().end());
    if (status = (*rig)->Reconnect(); !status.ok()) return Broken(trial, status.ToString());
    // This trial's and a few of the old ones, by tokens and by name.
    const std::size_t fresh = acknowledged.size() - load.stored().size();
    for (std::size_t i = 0; i < acknowledged.size(); ++i) {
      if (i < fresh && i % 20 != static_cast<std::size_t>(trial) % 20) continue;
      const std::uint64_t document = acknowledged[i];
      const GetOutcome got = (*rig)->Get(document);
      const auto context =
          (*rig)->client().LookupContext((*rig)->model(), ContextName(document), {});
      if (got.wrong) return Broken(trial, "a get delivered wrong bytes");
      if (!got.whole) {
        const GetOutcome again = (*rig)->Get(document);
        return Broken(trial, "an acknowledged put is lost: document " + std::to_string(document) +
                                 " gave " + std::to_string(got.tokens) + " tokens, " +
                                 std::string(CodeName(got.report.code)) + "; asked again, " +
                                 std::to_string(again.tokens) + ", " +
                                 std::string(CodeName(again.report.code)));
      }
      if (context->Take().tokens_matched() != (*rig)->TokensIn(document)) {
        return Broken(trial, "an acknowledged context is lost");
      }
    }
  }
  return {true, options.trials,
          "slowest return " + MillisecondsText(slowest_back) + "; " +
              std::to_string(acknowledged.size() - kDocuments) + " of " + std::to_string(puts) +
              " puts beside it acknowledged, none lost",
          ""};
}

}  // namespace kdn::fault
