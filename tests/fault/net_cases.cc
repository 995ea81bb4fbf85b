// Networks that lose, refuse and swallow: each case is a list of faults of one kind, which take
// turns. While one is there every call ends by its deadline and nothing is wrong; where another
// replica is in reach, no get fails; soon after it is lifted all is whole again, puts included.
#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "tests/fault/load.h"
#include "tests/fault/wired.h"

namespace kdn::fault {
namespace {

struct NetFault {
  const char* what;
  Status (*inject)(NetLab& lab, std::size_t node);
  bool may_miss = false;  // no replica, or no coordinator, is in reach
  bool again = false;     // no rules: injected anew between gets
  bool silent = false;    // lasts until the coordinator takes the node for dead
};

// Keeps the fault up until gets have felt it.
Status Inflict(Wired& wired, const NetFault& fault, std::size_t node, Load& load, Seen& seen) {
  constexpr int kTurns = 4;      // under the fault
  constexpr int kTurnsMax = 60;  // until a packet is hit: a node may be left alone for a while
  KDN_RETURN_IF_ERROR(fault.inject(*wired.lab, node));
  std::uint64_t hit = 0;
  for (int turn = 0, felt = 0; felt < kTurns; ++turn) {
    load.WaitGets(2);
    if (fault.again) {
      KDN_RETURN_IF_ERROR(fault.inject(*wired.lab, node));
      ++felt;
      continue;
    }
    const auto packets = wired.lab->PacketsHit();
    if (!packets) return packets.error();
    hit = *packets;
    if (hit > 0) ++felt;
    if (turn == kTurnsMax) return Status(Code::kInternal, "the rules hit no packet");
  }
  seen.packets += hit;
  if (!fault.silent) return {};
  return wired.rig->cluster().WaitAlive(kNodes - 1, std::chrono::seconds(15));
}

std::string RunTrial(Wired& wired, const NetFault& fault, int trial, std::size_t node, Seen& seen) {
  Load load(*wired.rig, {.documents = kDocuments, .first_new = FirstNewOf(trial)});
  load.WaitGets(2);
  Status status = Inflict(wired, fault, node, load, seen);
  if (const Status lifted = wired.lab->Lift(); status.ok()) status = lifted;
  load.Stop();
  if (!status.ok()) return status.ToString();
  if (load.wrong()) return "a get delivered wrong bytes";
  seen.latest.Note(load.latest());
  if (!fault.may_miss && load.failed() > 0) {
    return std::to_string(load.failed()) + " of " + std::to_string(load.gets()) +
           " gets failed though a replica was in reach; the first: " + load.first_failure();
  }
  if (!fault.may_miss) seen.slowest_hit = std::max(seen.slowest_hit, load.slowest());
  seen.gets += load.gets();
  seen.missed += load.failed();
  seen.puts += load.puts();
  seen.acknowledged += load.stored().size();
  return ComeBack(*wired.rig, load.acknowledged(), FirstNewOf(trial) + 500'000, seen);
}

CaseOutcome RunNet(const CaseOptions& options, std::span<const NetFault> faults) {
  auto wired = Wire(options, std::chrono::milliseconds(2000));
  if (!wired) return Unwired(wired.error());
  Seen seen;
  for (int trial = 0; trial < options.trials; ++trial) {
    const auto turn = static_cast<std::size_t>(trial);
    const NetFault& fault = faults[turn % faults.size()];
    const std::size_t node = 1 + turn / faults.size() % kNodes;
    // A client that has not spent its retries on the last fault.
    if (Status status = wired->rig->Reconnect(); !status.ok()) {
      return Broken(trial, status.ToString());
    }
    std::string why = RunTrial(*wired, fault, trial, node, seen);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    if (!why.empty()) return Broken(trial, std::string(fault.what) + ": " + why);
  }
  return {true, options.trials, seen.ToString(), ""};
}

// -- Faults ------------------------------------------------------------------------------------

Status LoseEverywhere(NetLab& lab, int percent) {
  for (std::size_t host = 0; host <= lab.client(); ++host) {
    KDN_RETURN_IF_ERROR(lab.Filter(host, {LosePercent(percent)}));
  }
  return {};
}

// Handshakes pass whole; of what is said afterwards nothing does.
Status SwallowData(NetLab& lab, std::size_t host) {
  return lab.Filter(host, {"ip saddr " + lab.AddressOf(lab.client()) +
                           " ct state established meta length > 80 counter drop"});
}

// Connections that are there are reset, new ones find nobody.
Status SwallowSyn(NetLab& lab, std::size_t host) {
  KDN_RETURN_IF_ERROR(lab.Filter(host, {"ip saddr " + lab.AddressOf(lab.client()) +
                                        " tcp flags & (syn | ack) == syn counter drop"}));
  return lab.ResetBetween(lab.client(), host);
}

Status ResetSome(NetLab& lab, std::size_t host) {
  return lab.Filter(host,
                    {"ip saddr " + lab.AddressOf(lab.client()) +
                     " meta l4proto tcp numgen random mod 20 < 1 counter reject with tcp reset"});
}

Status OnAllNodes(NetLab& lab, Status (*inject)(NetLab&, std::size_t)) {
  for (std::size_t node = 1; node <= kNodes; ++node) KDN_RETURN_IF_ERROR(inject(lab, node));
  return {};
}

}  // namespace

CaseOutcome PacketLoss(const CaseOptions& options) {
  static constexpr NetFault kFaults[] = {
      {"1 % lost", [](NetLab& lab, std::size_t) { return LoseEverywhere(lab, 1); }},
      {"10 % lost", [](NetLab& lab, std::size_t) { return LoseEverywhere(lab, 10); }, true},
  };
  return RunNet(options, kFaults);
}

CaseOutcome OneWay(const CaseOptions& options) {
  static constexpr NetFault kFaults[] = {
      {"the client hears nothing of a node",
       [](NetLab& lab, std::size_t node) {
         return lab.Filter(lab.client(), {DropFrom(lab.AddressOf(node))});
       }},
      {"a node hears nothing of the client",
       [](NetLab& lab, std::size_t node) {
         return lab.Filter(node, {DropFrom(lab.AddressOf(lab.client()))});
       }},
      {.what = "the coordinator hears nothing of a node",
       .inject =
           [](NetLab& lab, std::size_t node) {
             return lab.Filter(kCoordinator, {DropFrom(lab.AddressOf(node))});
           },
       .silent = true},
      {.what = "a node hears nothing of the coordinator",
       .inject =
           [](NetLab& lab, std::size_t node) {
             return lab.Filter(node, {DropFrom(lab.AddressOf(kCoordinator))});
           },
       .silent = true},
      {"a node hears nothing of another node",
       [](NetLab& lab, std::size_t node) {
         return lab.Filter(node, {DropFrom(lab.AddressOf(1 + node % kNodes))});
       }},
  };
  return RunNet(options, kFaults);
}

CaseOutcome Blackhole(const CaseOptions& options) {
  static constexpr NetFault kFaults[] = {
      {"a node's connections swallow all", SwallowData},
      {"all nodes' connections swallow all",
       [](NetLab& lab, std::size_t) { return OnAllNodes(lab, SwallowData); }, true},
      {"the coordinator's connections swallow all",
       [](NetLab& lab, std::size_t) { return SwallowData(lab, kCoordinator); }, true},
  };
  return RunNet(options, kFaults);
}

CaseOutcome SynBlackhole(const CaseOptions& options) {
  static constexpr NetFault kFaults[] = {
      {"a node takes no connections", SwallowSyn},
      {"no node takes connections",
       [](NetLab& lab, std::size_t) { return OnAllNodes(lab, SwallowSyn); }, true},
      {"the coordinator takes no connections",
       [](NetLab& lab, std::size_t) { return SwallowSyn(lab, kCoordinator); }, true},
  };
  return RunNet(options, kFaults);
}

CaseOutcome ResetStorm(const CaseOptions& options) {
  static constexpr NetFault kFaults[] = {
      {"a node's connections are reset", ResetSome},
      {.what = "a node's connections are reset on both sides",
       .inject = [](NetLab& lab, std::size_t node) { return lab.ResetBetween(lab.client(), node); },
       .again = true},
      {"all nodes' connections are reset",
       [](NetLab& lab, std::size_t) { return OnAllNodes(lab, ResetSome); }, true},
  };
  return RunNet(options, kFaults);
}

}  // namespace kdn::fault
