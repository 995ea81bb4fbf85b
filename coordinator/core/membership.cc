#include "coordinator/core/membership.h"

#include <algorithm>
#include <cassert>

#include "base/limits.h"

namespace kdn::coordinator {
namespace {

// A full node still gets a sixteenth of its share: it makes room by evicting what is worth least.
constexpr std::uint64_t kShareOfFullNode = 16;

std::uint64_t FreeBytes(std::uint64_t capacity, std::uint64_t used) {
  return std::max(capacity - std::min(capacity, used), capacity / kShareOfFullNode);
}

}  // namespace

Membership::Membership(const MembershipOptions& options, Epoch epoch, const ClusterId& cluster,
                       const std::vector<KnownNode>& known, TimePoint now)
    : options_(options), epoch_(epoch), cluster_(cluster), began_(now) {
  for (const KnownNode& node : known) {
    ids_.emplace(node.uuid, node.id);
    next_id_ = std::max(next_id_, static_cast<std::uint32_t>(node.id) + 1);
    if (static_cast<std::uint32_t>(node.registered) + 1 == static_cast<std::uint32_t>(epoch)) {
      awaited_.push_back(node.id);
    }
  }
  // Versions of the map never repeat, not even over restarts: a client asks with the one it has.
  map_.version = std::uint64_t{static_cast<std::uint32_t>(epoch)} << 32U;
  RebuildMap();
}

std::optional<NodeId> Membership::IdOf(const PeerId& uuid) const {
  const auto known = ids_.find(uuid);
  if (known == ids_.end()) return std::nullopt;
  return known->second;
}

NodeId Membership::NewId(const PeerId& uuid) {
  assert(!ids_.contains(uuid));
  const auto id = static_cast<NodeId>(next_id_++);
  ids_.emplace(uuid, id);
  return id;
}

Status Membership::MayRegister(const NodeDescription& node) const {
  if (node.uuid.IsZero()) return Status(Code::kInvalidArgument, "a node's uuid is zero");
  if (!node.cluster.IsZero() && node.cluster != cluster_) {
    return Status(Code::kFailedPrecondition, "the node belongs to cluster " + ToHex(node.cluster) +
                                                 ", this is " + ToHex(cluster_));
  }
  if (node.epoch_seen > epoch_) {
    return Status(Code::kFailedPrecondition,
                  "the node obeys a later coordinator, of epoch " +
                      std::to_string(static_cast<std::uint32_t>(node.epoch_seen)));
  }
  if (node.shards.empty() || node.shards.size() > limits::kShardsPerNodeMax) {
    return Status(Code::kInvalidArgument, "a node has 1 to 64 shards");
  }
  for (const std::string& shard : node.shards) {
    if (shard.empty() || shard.size() > limits::kEndpointBytesMax) {
      return Status(Code::kInvalidArgument, "a shard's endpoint is empty or too long");
    }
  }
  const std::optional<NodeId> id = IdOf(node.uuid);
  const bool joined = id && nodes_.contains(*id);
  if (!joined && nodes_.size() >= limits::kNodesMax) {
    return Status(Code::kResourceExhausted, "the cluster has as many nodes as it can");
  }
  return Status();
}

void Membership::Register(const NodeDescription& node, TimePoint now) {
  const std::optional<NodeId> id = IdOf(node.uuid);
  assert(id);
  const auto [at, is_new] = nodes_.try_emplace(*id);
  NodeState& state = at->second;
  state.id = *id;
  state.description = node;
  state.heard = now;
  if (is_new) state.registered = now;
  // It may be a new process, which counts its batches from the beginning. What the directory has of
  // it stays until the new report is complete: at worst a reader is told that something is gone.
  state.sequence.reset();
  state.reporting = false;
  state.want_full = true;
  state.last_beat = Beat{.node = *id};
  state.alive = true;
  state.forgotten = false;
  RebuildMap();
}

Result<bool> Membership::OnBeat(const Beat& beat, TimePoint now) {
  const auto at = nodes_.find(beat.node);
  if (at == nodes_.end()) return Error(Code::kNotFound, "the node has not registered");
  NodeState& node = at->second;
  node.heard = now;
  node.last_beat = beat;
  node.placed_bytes = 0;
  // What waited for a network to be whole again may be of a node that has given this stream up
  // since: it takes no puts before it has heard us.
  const bool hears_us = !beat.heard_ago || *beat.heard_ago < options_.dead_after / 2;
  if (!node.alive && hears_us) Revive(node);
  return node.want_full && !node.reporting;
}

Result<BatchVerdict> Membership::OnBatch(NodeId id, bool full, bool first, bool last,
                                         std::uint64_t sequence, TimePoint now) {
  const auto at = nodes_.find(id);
  if (at == nodes_.end()) return Error(Code::kNotFound, "the node has not registered");
  NodeState& node = at->second;
  node.heard = now;
  BatchVerdict verdict;
  if (!node.alive) {  // a beat says whether it is there; then it tells all again
    node.sequence.reset();
    node.reporting = false;
    node.want_full = true;
    verdict.want_full = true;
    return verdict;
  }
  if (node.sequence && sequence <= *node.sequence) {
    // Came before: sent again because the answer was lost.
    verdict.want_full = node.want_full && !node.reporting;
    return verdict;
  }
  verdict.apply = true;
  const bool gap = !node.sequence || sequence != *node.sequence + 1;
  node.sequence = sequence;
  if (full && first) {
    node.reporting = true;
    node.want_full = false;
  } else if (gap) {
    // Something in between is lost. What this batch says is still true, but only a new full report
    // can tell what has gone.
    node.reporting = false;
    node.want_full = true;
  }
  if (full && last && node.reporting) {
    node.reporting = false;
    node.reported = true;
    verdict.ends_report = true;
  }
  verdict.want_full = node.want_full && !node.reporting;
  return verdict;
}

Membership::Changes Membership::Tick(TimePoint now) {
  Changes changes;
  for (auto& [id, node] : nodes_) {
    const Duration silent = now - node.heard;
    if (node.alive && silent > options_.dead_after) {
      node.alive = false;
      changes.died.push_back(id);
    }
    if (!node.alive && !node.forgotten && silent > options_.forget_after) {
      node.forgotten = true;
      node.reporting = false;
      node.want_full = true;
      node.sequence.reset();
      changes.forgotten.push_back(id);
    }
  }
  if (!changes.died.empty()) RebuildMap();
  return changes;
}

bool Membership::InventoriesComplete(TimePoint now) const {
  const bool all_alive_reported = std::ranges::all_of(
      nodes_, [](const auto& entry) { return !entry.second.alive || entry.second.reported; });
  if (!all_alive_reported) return false;
  return now - began_ > options_.dead_after || std::ranges::all_of(awaited_, [this](NodeId id) {
           const NodeState* node = Find(id);
           return node != nullptr && node->reported;
         });
}

const NodeState* Membership::Find(NodeId id) const {
  const auto at = nodes_.find(id);
  return at == nodes_.end() ? nullptr : &at->second;
}

bool Membership::IsAlive(NodeId id) const {
  const NodeState* node = Find(id);
  return node != nullptr && node->alive;
}

std::vector<PlacementNode> Membership::ForPlacement(TimePoint now) const {
  std::vector<PlacementNode> nodes;
  for (const auto& [id, node] : nodes_) {
    if (!node.alive) continue;
    const NodeDescription& description = node.description;
    std::uint64_t room =
        FreeBytes(description.dram_bytes, node.last_beat.dram_bytes_used + node.placed_bytes);
    if (description.disk_bytes > 0) {
      room += FreeBytes(description.disk_bytes, node.last_beat.disk_bytes_used + node.placed_bytes);
    }
    // From a quarter of its share to all of it.
    const auto ramp = static_cast<double>(options_.ramp / std::chrono::milliseconds(1));
    const auto age = static_cast<double>((now - node.registered) / std::chrono::milliseconds(1));
    const double share = ramp <= 0 ? 1.0 : std::clamp(0.25 + 0.75 * age / ramp, 0.25, 1.0);
    const auto weight = static_cast<std::uint64_t>(static_cast<double>(room) * share);
    nodes.push_back({id, description.host, std::max<std::uint64_t>(weight, 1)});
  }
  return nodes;
}

void Membership::NotePlaced(NodeId id, std::uint64_t bytes) {
  const auto at = nodes_.find(id);
  if (at != nodes_.end()) at->second.placed_bytes += bytes;
}

void Membership::Revive(NodeState& node) {
  node.alive = true;
  node.forgotten = false;
  RebuildMap();
}

void Membership::RebuildMap() {
  ++map_.version;
  map_.nodes.clear();
  for (const auto& [id, node] : nodes_) {
    if (node.alive) map_.nodes.push_back({id, node.description.host, node.description.shards});
  }
}

}  // namespace kdn::coordinator
