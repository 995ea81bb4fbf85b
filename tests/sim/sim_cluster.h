// A whole cluster in virtual time: one coordinator, some nodes, clients that store chains in one or
// two parts, extend contexts and look up, while messages are lost and processes die. Notes
// everything that was promised, and says what was broken.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/simulation.h"

namespace kdn::sim {

class SimCluster {
 public:
  explicit SimCluster(std::uint64_t seed);

  // Trouble for this long, then quiet until everything has settled, then the final check.
  void Run(milliseconds trouble);

  // Empty: every promise was kept.
  [[nodiscard]] const std::vector<std::string>& broken() const { return broken_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return simulation_.trace_hash(); }
  [[nodiscard]] std::size_t acknowledged_chunks() const { return acknowledged_.size(); }
  [[nodiscard]] std::size_t acknowledged_contexts() const { return contexts_.size(); }
  [[nodiscard]] std::size_t reigns() const { return coordinator_.epochs().size(); }

 private:
  struct Writer {
    wire::PutStartRequest request;
    wire::PutGrant grant;
    std::vector<ChunkKey> keys;  // of this grant
    std::uint16_t part = 0;
    std::map<ChunkKey, std::set<NodeId>> acks;
    int tries_left = 3;
  };

  void Trouble();
  void StoreSomething();
  void OnStarted(const wire::PutStartRequest& request, const wire::PutStartResponse& response);
  void SendPieces(const std::shared_ptr<Writer>& writer);
  void Commit(const std::shared_ptr<Writer>& writer);
  void OnCommitted(const Writer& writer, const wire::PutCommitRequest& request,
                   const wire::PutCommitResponse& response);
  void ExtendContext();
  void LookUp();
  void CheckAtTheEnd();
  [[nodiscard]] bool WasCommitted(const ChunkKey& key, const wire::ChunkLocation& chunk);
  [[nodiscard]] wire::InventoryEntry EntryOf(const Writer& writer, const ChunkKey& key) const;
  [[nodiscard]] std::vector<ChunkKey> RandomChain();
  void Break(const std::string& what);

  Simulation simulation_;
  HmacKey cluster_key_;
  SimCoordinator coordinator_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  bool troubled_ = false;
  std::set<ChunkKey> acknowledged_;
  struct AckedContext {
    std::uint64_t revision = 0;
    std::vector<ChunkKey> keys;
  };
  std::map<std::string, AckedContext> contexts_;
  std::vector<std::string> broken_;
};

}  // namespace kdn::sim
