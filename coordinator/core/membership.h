// Which nodes there are, which of them are alive, and what of their inventories has arrived. Knows
// nothing of chunks: what an inventory says goes to the directory.
//
// A node's id belongs to its uuid for good (hard state). It is alive from its registration until it
// is silent for `dead_after`, and again once it is heard. A node that has been dead for
// `forget_after` is treated as if it had lost everything: it must report in full before it counts.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/hard_state.h"
#include "coordinator/placement/placement.h"
#include "proto/wire/lookup.h"

namespace kdn::coordinator {

struct MembershipOptions {
  std::chrono::milliseconds dead_after{3000};
  std::chrono::milliseconds forget_after{60000};
  // A node's share of new chunks grows to its full one over this time, so that an empty newcomer is
  // not handed everything at once.
  std::chrono::milliseconds ramp{60000};
};

// What a node says of itself when it registers.
struct NodeDescription {
  PeerId uuid;
  ClusterId cluster;  // zero: it has not been told one yet
  HostId host;
  std::vector<std::string> shards;  // an endpoint each
  std::uint64_t dram_bytes = 0;
  std::uint64_t disk_bytes = 0;  // 0: bounded by its file system
  Epoch epoch_seen{};
  std::string version;
};

struct Beat {
  NodeId node{};
  std::uint64_t dram_bytes_used = 0;
  std::uint64_t disk_bytes_used = 0;
  std::uint64_t objects = 0;
  std::uint64_t corrupt_objects_found = 0;
  // How old the coordinator's word was that the node had last heard; none: it does not say.
  std::optional<Duration> heard_ago = std::nullopt;
};

struct NodeState {
  NodeId id{};
  NodeDescription description;
  Beat last_beat;
  bool alive = false;
  bool forgotten = false;                 // dead for so long that its inventory was dropped
  TimePoint heard;                        // last
  TimePoint registered;                   // first in this reign
  std::uint64_t placed_bytes = 0;         // promised to it since its last beat
  bool reported = false;                  // it has told in full what it holds, in this reign
  bool reporting = false;                 // a full report is under way
  bool want_full = true;                  // it should begin one
  std::optional<std::uint64_t> sequence;  // of its last batch; none: the next must begin a report
};

// What is to be done with a batch of an inventory.
struct BatchVerdict {
  bool apply = false;  // else it came before, and is answered as it was then
  bool ends_report = false;
  bool want_full = false;  // for the answer
};

class Membership {
 public:
  Membership(const MembershipOptions& options, Epoch epoch, const ClusterId& cluster,
             const std::vector<KnownNode>& known, TimePoint now);

  // The id of a uuid that has registered before, in any reign.
  [[nodiscard]] std::optional<NodeId> IdOf(const PeerId& uuid) const;
  // Gives a new uuid the next id. The caller makes it durable before anybody hears of it.
  [[nodiscard]] NodeId NewId(const PeerId& uuid);
  // Whether the node may join: kFailedPrecondition if it belongs to another cluster or obeys a
  // later coordinator, kInvalidArgument if what it says cannot be, kResourceExhausted if there are
  // limits::kNodesMax.
  [[nodiscard]] Status MayRegister(const NodeDescription& node) const;
  // Requires: IdOf(node.uuid) and MayRegister().
  void Register(const NodeDescription& node, TimePoint now);

  // kNotFound for a node that has not registered in this reign: it has to. Returns whether it
  // should send a full inventory.
  [[nodiscard]] Result<bool> OnBeat(const Beat& beat, TimePoint now);
  [[nodiscard]] Result<BatchVerdict> OnBatch(NodeId node, bool full, bool first, bool last,
                                             std::uint64_t sequence, TimePoint now);

  struct Changes {
    std::vector<NodeId> died;
    std::vector<NodeId> forgotten;
  };
  [[nodiscard]] Changes Tick(TimePoint now);

  // Every node that is alive has reported in full since it came to this reign, and so have those
  // that registered in the last one; these are given up once dead_after has passed since this reign
  // began.
  [[nodiscard]] bool InventoriesComplete(TimePoint now) const;

  [[nodiscard]] const wire::NodeMap& map() const { return map_; }
  [[nodiscard]] const std::map<NodeId, NodeState>& nodes() const { return nodes_; }
  [[nodiscard]] const NodeState* Find(NodeId node) const;
  [[nodiscard]] bool IsAlive(NodeId node) const;
  [[nodiscard]] std::vector<PlacementNode> ForPlacement(TimePoint now) const;
  void NotePlaced(NodeId node, std::uint64_t bytes);

 private:
  void Revive(NodeState& node);
  void RebuildMap();

  MembershipOptions options_;
  Epoch epoch_;
  ClusterId cluster_;
  TimePoint began_;
  std::map<PeerId, NodeId> ids_;
  std::vector<NodeId> awaited_;  // registered in the last reign
  std::uint32_t next_id_ = 1;
  std::map<NodeId, NodeState> nodes_;  // those registered in this reign
  wire::NodeMap map_;
};

}  // namespace kdn::coordinator
