// A node as the protocol sees it: registers, beats, reports, stages objects under tickets, makes
// them visible when told. What is visible survives a crash, what is staged does not; the highest
// epoch obeyed does.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/crypto.h"
#include "proto/wire/ticket.h"
#include "tests/sim/sim_coordinator.h"

namespace kdn::sim {

// (key, part, put id): what an object is, of the one tenant that there is.
using ObjectId = std::tuple<ChunkKey, std::uint16_t, PutId>;

class SimNode final : public NodeEnd {
 public:
  SimNode(Simulation& simulation, SimCoordinator& coordinator, std::uint64_t number,
          const HmacKey& cluster_key);

  void Start();
  void Crash();
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] NodeId id() const { return id_; }
  // Every id that it was ever told.
  [[nodiscard]] const std::set<NodeId>& ids() const { return ids_; }

  // A whole object comes from a client. True if it is staged.
  bool OnPut(const wire::Buffer& ticket, const wire::InventoryEntry& entry,
             const ObjectDigest& digest);
  void OnCall(const coordinator::NodeCall& call,
              std::function<void(wire::ObjectCodesResponse)> answer) override;

  [[nodiscard]] bool Holds(const ObjectId& object) const { return visible_.contains(object); }
  // Whether it was visible at any time.
  [[nodiscard]] bool EverHeld(const ObjectId& object) const { return ever_.contains(object); }

 private:
  struct Staged {
    wire::InventoryEntry entry;
    ObjectDigest digest;
  };

  void Register();
  void Beat(std::uint64_t life);
  void Report(std::uint64_t life);
  void SendBatch(coordinator::InventoryBatch batch);
  [[nodiscard]] Code Commit(const wire::CommitObjectsRequest::Object& object);
  void Remove(const ObjectId& object);

  Simulation& simulation_;
  SimCoordinator& coordinator_;
  const HmacKey& cluster_key_;
  coordinator::NodeDescription description_;
  bool up_ = false;
  std::uint64_t life_ = 0;
  NodeId id_{};  // 0: not registered in this life
  std::set<NodeId> ids_;
  Epoch epoch_seen_{};                  // durable
  std::map<ObjectId, Staged> visible_;  // durable
  std::set<ObjectId> ever_;
  std::map<ObjectId, Staged> staged_;
  std::vector<wire::InventoryEntry> changes_;  // not reported yet
  std::uint64_t sequence_ = 0;
  bool want_full_ = false;
  bool reporting_ = false;  // a batch is on its way
};

}  // namespace kdn::sim
