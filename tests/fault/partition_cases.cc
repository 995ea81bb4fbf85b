// Nodes that are cut off from the coordinator while clients still reach both: whoever does not hear
// from the coordinator takes no puts, also of tickets that it could check, so that there are never
// two opinions on where a chunk is. Reads go on, and what was acknowledged is there afterwards.
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "client/core/store_plan.h"
#include "node/cluster_state.h"
#include "proto/wire/put.h"
#include "tests/fault/forger.h"
#include "tests/fault/load.h"
#include "tests/fault/wired.h"

namespace kdn::fault {
namespace {

constexpr TenantId kTenant{1};

struct Cut {
  const char* what;
  bool all = false;      // of the nodes, not only one
  bool restart = false;  // the coordinator dies meanwhile and begins another reign
};

constexpr Cut kCuts[] = {
    {"a node is cut off"},
    {.what = "all nodes are cut off", .all = true},
    {.what = "a node is cut off and the coordinator restarts", .restart = true},
};

// What somebody who kept a ticket would send to its first node: half an object.
struct KeptTicket {
  wire::Buffer request;
  std::string endpoint;
};

// Tickets of now, one for each node as the first of its list.
class Tickets {
 public:
  explicit Tickets(Rig& rig) : rig_(rig), secret_(rig.client_options().access_secret) {}

  // Empty if all nodes got one.
  std::string Collect(std::uint64_t document) {
    constexpr int kTriesMax = 100;
    for (int i = 0; i < kTriesMax && kept_.size() < kNodes; ++i) {
      client::StorePlanOptions options;
      options.provenance = kExactProvenance;
      const auto plan = rig_.client().PlanStore(rig_.model(), rig_.DocumentOf(document++), options);
      if (!plan || plan->state().grants.empty()) return "no put was granted before any fault";
      Keep(plan->state());
    }
    return kept_.size() == kNodes ? "" : "not every node is chosen for puts";
  }
  // What a node (1, 2, ...) says to a put of its ticket.
  Code Use(std::size_t node) {
    const KeptTicket& kept = kept_.at(node);
    return forger_.Ask(kept.endpoint, kTenant, secret_, kept.request, true);
  }

 private:
  void Keep(const client::StorePlan::State& plan) {
    const wire::PutGrant& grant = plan.grants[0];
    const auto named = std::ranges::find(plan.nodes, grant.nodes[0], &wire::NodeEndpoints::node);
    if (named == plan.nodes.end()) return;
    const auto& daemons = rig_.cluster().daemons();
    for (std::size_t node = 1; node < daemons.size(); ++node) {
      if (daemons[node].endpoints[0] != named->shards[0] || kept_.contains(node)) continue;
      wire::PutPieceRequest piece;
      piece.ticket = grant.ticket;
      piece.key = plan.chunks[0].key;
      piece.object_bytes = std::uint64_t{2} * Forger::kBulkBytes;
      piece.size_bytes = Forger::kBulkBytes;
      KeptTicket& kept = kept_[node];
      kept.endpoint = named->shards[0];
      piece.Encode(kept.request);
    }
  }

  Rig& rig_;
  const std::vector<std::byte> secret_;
  Forger forger_;
  std::map<std::size_t, KeptTicket> kept_;
};

Status CutOff(NetLab& lab, const std::vector<std::size_t>& nodes) {
  std::vector<std::string> rules;
  for (const std::size_t node : nodes) {
    rules.push_back(DropFrom(lab.AddressOf(node)));
    KDN_RETURN_IF_ERROR(lab.Filter(node, {DropFrom(lab.AddressOf(kCoordinator))}));
  }
  return lab.Filter(kCoordinator, rules);
}

class Partition {
 public:
  Partition(Wired& wired, const Cut& cut, std::size_t node)
      : rig_(*wired.rig), lab_(*wired.lab), cut_(cut), node_(node), tickets_(rig_) {
    for (std::size_t n = 1; n <= kNodes; ++n) {
      if (cut.all || n == node) lost_.push_back(n);
    }
  }

  // Empty, or which promise was broken.
  std::string Run(std::uint64_t first_new, Seen& seen, Milliseconds& slowest_fence) {
    LoadOptions options{.documents = kDocuments, .first_new = first_new, .put_every = 2};
    // Without nodes or without itself the coordinator finds nothing: then reads of what is known.
    if (cut_.all || cut_.restart) {
      for (std::uint64_t d = 0; d < kDocuments; ++d) options.known.push_back(rig_.Lookup(d));
    }
    if (std::string why = tickets_.Collect(first_new + 600'000); !why.empty()) return why;
    Load load(rig_, std::move(options));
    load.WaitGets(2);
    std::string why = WhileCut(first_new + 700'000, load, slowest_fence);
    const Status lifted = lab_.Lift();
    if (why.empty() && !lifted.ok()) why = lifted.ToString();
    load.Stop();
    seen.latest.Note(load.latest());
    seen.gets += load.gets();
    seen.missed += load.failed();
    seen.puts += load.puts();
    seen.acknowledged += load.acknowledged().size();
    seen.slowest_hit = std::max(seen.slowest_hit, load.slowest());
    if (!why.empty()) return why;
    if (load.wrong()) return "a get delivered wrong bytes";
    if (load.failed() > 0) return "gets failed; the first: " + load.first_failure();
    why = ComeBack(rig_, load.acknowledged(), first_new + 500'000, seen);
    if (!why.empty()) return why;
    if (cut_.restart && tickets_.Use(node_) == Code::kOk) {
      return "a ticket of the last reign was taken";
    }
    return "";
  }

 private:
  std::string WhileCut(std::uint64_t next_new, Load& load, Milliseconds& slowest_fence) {
    if (const Code code = tickets_.Use(node_); code != Code::kOk) {
      return "a node refuses a right ticket before any fault: " + std::string(CodeName(code));
    }
    if (Status status = CutOff(lab_, lost_); !status.ok()) return status.ToString();
    const TimePoint cut = std::chrono::steady_clock::now();
    for (const std::size_t node : lost_) {
      if (std::string why = AwaitFence(node, cut, slowest_fence); !why.empty()) return why;
    }
    Status status = rig_.cluster().WaitAlive(kNodes - static_cast<std::uint32_t>(lost_.size()),
                                             std::chrono::seconds(15));
    if (!status.ok()) return "the coordinator does not miss them: " + status.ToString();
    if (cut_.restart) {
      if (std::string why = NewReign(); !why.empty()) return why;
    }
    load.WaitGets(4);
    for (const std::size_t node : lost_) {
      if (tickets_.Use(node) == Code::kOk) return "a node that was fenced took a put";
    }
    // Nothing new is given to who cannot answer for it.
    const PutOutcome put = rig_.Put(next_new);
    if (cut_.all && put.ok()) return "a put was acknowledged without nodes";
    if (!cut_.all && !put.ok()) return "a put failed though two nodes are there";
    if (!cut_.all && put.report.chunks_under_replicated > 0) return "a put went to a lost node";
    return "";
  }

  // A node's last word from the coordinator was before the cut.
  std::string AwaitFence(std::size_t node, TimePoint cut, Milliseconds& slowest) {
    Milliseconds since{};
    for (Code code = Code::kOk; code != Code::kUnavailable;) {
      // What it answers is of a moment after it was asked, however late the answer comes.
      since = std::chrono::steady_clock::now() - cut;
      code = tickets_.Use(node);
      if (code != Code::kUnavailable && since > node::ClusterState::kContactTimeout + late_max) {
        return "a node takes puts " + MillisecondsText(since) + " after it was cut off";
      }
      poll(nullptr, 0, 5);  // between two questions that nothing can announce
    }
    slowest = std::max(slowest, since);
    return "";
  }

  std::string NewReign() {
    admin::LocalCluster& cluster = rig_.cluster();
    if (!cluster.Signal(kCoordinator, SIGKILL).ok()) return "cannot kill the coordinator";
    Status status = cluster.Restart(kCoordinator);
    if (status.ok()) status = cluster.WaitAlive(kNodes - 1, std::chrono::seconds(30));
    if (!status.ok()) return "the coordinator did not come back: " + status.ToString();
    for (std::size_t node = 1; node <= kNodes; ++node) {
      if (tickets_.Use(node) == Code::kOk) return "a ticket of the last reign was taken";
    }
    return "";
  }

  Rig& rig_;
  NetLab& lab_;
  const Cut& cut_;
  const std::size_t node_;
  std::vector<std::size_t> lost_;
  Tickets tickets_;
};

}  // namespace

CaseOutcome CoordinatorPartition(const CaseOptions& options) {
  auto wired = Wire(options, std::chrono::milliseconds(2000));
  if (!wired) return Unwired(wired.error());
  Seen seen;
  Milliseconds slowest_fence{};
  for (int trial = 0; trial < options.trials; ++trial) {
    const auto turn = static_cast<std::size_t>(trial);
    const Cut& cut = kCuts[turn % std::size(kCuts)];
    const std::size_t node = 1 + turn / std::size(kCuts) % kNodes;
    Partition partition(*wired, cut, node);
    std::string why = partition.Run(FirstNewOf(trial), seen, slowest_fence);
    if (why.empty() && seen.latest.Broken()) why = seen.latest.ToString();
    if (!why.empty()) return Broken(trial, std::string(cut.what) + ": " + why);
  }
  return {true, options.trials,
          "fenced within " + MillisecondsText(slowest_fence) + "; 0 of " +
              std::to_string(seen.gets) + " gets missed; " + std::to_string(seen.acknowledged) +
              " of " + std::to_string(seen.puts) + " puts beside it acknowledged, none lost; " +
              seen.latest.ToString() + "; whole again within " +
              MillisecondsText(seen.slowest_back),
          ""};
}

}  // namespace kdn::fault
