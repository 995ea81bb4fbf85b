// What a node knows of its cluster: the node map, the tenants' access secrets, the highest epoch it
// obeys, and the coordinator's clock. The registrar writes it, the shards read it.
//
// Thread-safety: safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/tenant_rates.h"
#include "proto/wire/lookup.h"

namespace kdn::node {

struct TenantAccess {
  std::vector<std::byte> secret;
  bool allow_none = false;
  TenantRate rate{};  // zeros: as this node's configuration says
};

// One state of things; never changed once it is published.
struct ClusterView {
  NodeId self{};  // 0: not registered yet
  wire::NodeMap map;
  std::map<TenantId, TenantAccess> tenants;
  std::uint64_t tenants_version = 0;

  // The endpoint at which `node` keeps `key`; null if the node is not in the map.
  [[nodiscard]] const std::string* EndpointOf(NodeId node, const ChunkKey& key) const;
};

class ClusterState {
 public:
  // Without a word from the coordinator for this long, a node takes no new puts: the coordinator
  // may have given its chunks to others. Reads go on.
  static constexpr std::chrono::milliseconds kContactTimeout{1500};

  // Shared, since a shard may still use a view when the next one is published.
  [[nodiscard]] std::shared_ptr<const ClusterView> view() const;
  void SetView(ClusterView view);

  // The highest epoch that is durable here; EpochKeeper raises it.
  [[nodiscard]] Epoch epoch() const { return epoch_.load(); }
  void RaiseEpoch(Epoch durable);

  void NoteContact(TimePoint now, std::uint64_t coordinator_now_ms);
  [[nodiscard]] bool InContact(TimePoint now) const;
  // The coordinator's clock by now; 0 if it was never heard.
  [[nodiscard]] std::uint64_t CoordinatorNowMs(TimePoint now) const;

 private:
  struct Contact {
    TimePoint at;
    std::uint64_t coordinator_now_ms = 0;
    bool ever = false;
  };
  std::atomic<Epoch> epoch_{};
  mutable std::mutex mutex_;
  std::shared_ptr<const ClusterView> view_ = std::make_shared<ClusterView>();  // guarded by mutex_
  Contact contact_;                                                            // guarded by mutex_
};

}  // namespace kdn::node
