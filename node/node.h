// A whole node in one object: disk, shards, and the word with the coordinator. The daemon is a
// main() around it; tests run several in one process.
//
// Thread-safety: safe after Open(); Open() and the destructor belong to one thread.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "node/authenticator.h"
#include "node/cluster_state.h"
#include "node/config.h"
#include "node/epoch_keeper.h"
#include "node/inventory_outbox.h"
#include "node/load_reporter.h"
#include "node/local_state.h"
#include "node/metrics.h"
#include "node/registrar.h"
#include "node/shard.h"
#include "storage/disk_tier.h"
#include "transport/channel.h"

namespace kdn::node {

// What a node is run with; all that is referred to outlives it.
struct NodeEnvironment {
  const Clock& clock;
  Random& random;  // safe: asked by several threads
  Log& log;
  MetricRegistry& registry;
  std::vector<std::byte> cluster_secret{};
  // Where data moves; null: the node opens a domain of its own. Nodes over loopback share one.
  transport::Domain* domain = nullptr;
  // Zero: the one that was kept, else the coordinator's.
  ClusterId cluster{};
};

class Node {
 public:
  // Opens the disk, makes what it holds readable, listens, and registers in the background. Waits
  // for the coordinator only at the very first start, to learn its cluster; kCancelled after
  // `stop`. With no coordinator configured the node serves what `state()` is told by its host
  // process.
  [[nodiscard]] static Result<std::unique_ptr<Node>> Open(const NodeConfig& config,
                                                          const NodeEnvironment& environment,
                                                          const std::stop_token& stop = {});
  // A clean stop: calls end, dirty bytes are written, the disk is closed.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] std::vector<std::string> endpoints() const;  // one per shard, as others reach them
  [[nodiscard]] const ClusterId& cluster() const { return cluster_; }
  [[nodiscard]] ClusterState& state() { return state_; }
  // Registered, and in contact with the coordinator.
  [[nodiscard]] bool ready() const;

 private:
  Node(const NodeConfig& config, const NodeEnvironment& environment);
  [[nodiscard]] Status OpenParts(const std::stop_token& stop);
  [[nodiscard]] Status OpenDisk();
  [[nodiscard]] Status LearnWhoWeAre(const std::stop_token& stop);
  [[nodiscard]] Status OpenShards();
  void StartRegistrar();

  NodeConfig config_;
  NodeEnvironment environment_;
  NodeMetrics metrics_;
  MemoryWatch memory_;
  const HmacKey cluster_key_;
  ClusterState state_;
  const NodeAuthenticator authenticator_;
  InventoryOutbox outbox_;
  PeerId uuid_;
  ClusterId cluster_;
  HostId host_;
  std::unique_ptr<storage::DiskTier> disk_;
  std::unique_ptr<LocalState> local_;
  std::unique_ptr<transport::Domain> own_domain_;
  transport::Domain* domain_ = nullptr;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<EpochKeeper> epochs_;  // tells shards: ends before them
  std::unique_ptr<Registrar> registrar_;
  std::unique_ptr<LoadReporter> load_reporter_;
};

}  // namespace kdn::node
