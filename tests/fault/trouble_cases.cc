// A node that stands still while others serve: gets go on, and it comes back.
#include <signal.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fault/cases.h"
#include "tests/fault/load.h"
#include "tests/fault/watch.h"

namespace kdn::fault {
namespace {

constexpr std::uint32_t kNodes = 3;
constexpr std::uint64_t kDocuments = 6;
constexpr Milliseconds kExtraMax{200};  // and what the machine may be late

// A get whose memory is looked at again long after: nobody may have written to it.
struct KeptGet {
  std::unique_ptr<test::TestEngine> engine;
  std::uint64_t tokens = 0;
};

KeptGet GetAndKeep(Rig& rig, std::uint64_t document) {
  KeptGet kept{std::make_unique<test::TestEngine>(rig.ShapeOf(document))};
  kept.engine->Poison();
  const client::LookupResult found = rig.Lookup(document);
  auto load = rig.client().Load(rig.model(), found, kept.engine->kv(), kept.engine->blocks(), {});
  if (load) kept.tokens = (*load)->Wait().tokens_loaded;
  return kept;
}

// Until the client trusts the node again, and then the node has served a read.
bool ServesAgain(Rig& rig, std::size_t node, Milliseconds& took) {
  const TimePoint begun = std::chrono::steady_clock::now();
  double hits_before = -1;
  for (std::uint64_t turn = 0; took < std::chrono::seconds(10); ++turn) {
    if (rig.Get(turn % kDocuments).wrong) return false;
    took = std::chrono::steady_clock::now() - begun;
    const std::string mine = rig.client().Metrics();
    const double distrusted = SumOf(mine, R"(kdn_client_breakers{state="open"})") +
                              SumOf(mine, R"(kdn_client_breakers{state="half_open"})");
    if (distrusted > 0) continue;
    // What it serves from here on it was asked for after it came back.
    const double hits = SumOf(MetricsOf(rig, node), R"(kdn_node_gets_total{outcome="hit"})");
    if (hits_before >= 0 && hits > hits_before) return true;
    if (hits_before < 0) hits_before = hits;
  }
  return false;
}

}  // namespace

CaseOutcome NodeFreeze(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(
      options, {.nodes = kNodes, .node_settings = {kWithStatus}, .size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    if (!(*rig)->Put(d).ok() || (*rig)->ReplicasOf(d) != 2) {
      return Broken(0, "a put did not reach two replicas before any fault");
    }
  }
  ExtraLatency extra;
  Milliseconds worst{};
  Milliseconds slowest_back{};
  std::uint64_t gets = 0;
  std::uint64_t puts = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const std::size_t node = 1 + static_cast<std::size_t>(trial) % kNodes;
    // Gets on one thread, puts on another: a put waits longer, and must not hold up the gets.
    Load load(**rig, {.documents = kDocuments,
                      .first_new = FirstNewOf(trial),
                      .put_every = std::uint64_t{1} << 40});
    load.WaitGets(8);
    const std::uint64_t calm = load.gets();
    if (!(*rig)->cluster().Signal(node, SIGSTOP).ok()) return Broken(trial, "cannot stop a node");
    PutOutcome put;
    std::thread putting([&] { put = (*rig)->Put(FirstNewOf(trial) + 500'000); });
    const KeptGet kept = GetAndKeep(**rig, static_cast<std::uint64_t>(trial) % kDocuments);
    load.WaitGets(24);
    load.Stop();
    putting.join();
    if (!(*rig)->cluster().Signal(node, SIGCONT).ok()) return Broken(trial, "cannot wake a node");

    if (load.wrong()) return Broken(trial, "a get delivered wrong bytes");
    if (load.failed() > 0) {
      return Broken(trial, std::to_string(load.failed()) + " of " + std::to_string(load.gets()) +
                               " gets failed; the first: " + load.first_failure());
    }
    worst = std::max(worst, extra.WorstOf(load.times(), calm));
    if (worst > kExtraMax + late_max && !BesideOthers()) {
      return Broken(trial,
                    "a get took " + MillisecondsText(worst) + " more than without the fault");
    }
    Milliseconds back{};
    if (!ServesAgain(**rig, node, back)) {
      return Broken(trial, "the node is not read from again, or delivers wrong bytes");
    }
    slowest_back = std::max(slowest_back, back);
    if (!(*rig)->IsRight(static_cast<std::uint64_t>(trial) % kDocuments, *kept.engine,
                         kept.tokens)) {
      return Broken(trial, "the memory of a get that was over has been written to");
    }
    // What was acknowledged while it stood still is what is read now.
    if (put.ok() && !(*rig)->Get(FirstNewOf(trial) + 500'000).whole) {
      return Broken(trial, "an acknowledged put is lost");
    }
    if (Status status = (*rig)->cluster().WaitAlive(kNodes, std::chrono::seconds(30));
        !status.ok()) {
      return Broken(trial, "it did not come back: " + status.ToString());
    }
    gets += load.gets();
    puts += put.ok() ? 1 : 0;
  }
  return {true, options.trials,
          "at most " + MillisecondsText(worst) + " more for a get, " + std::to_string(gets) +
              " gets, " + std::to_string(puts) + " of " + std::to_string(options.trials) +
              " puts acknowledged; read from again within " + MillisecondsText(slowest_back),
          ""};
}

}  // namespace kdn::fault
