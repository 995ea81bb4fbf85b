// Judges who may connect to a node: clients under their tenant's access secret, daemons under the
// cluster's.
//
// Thread-safety: safe.
#pragma once

#include <vector>

#include "node/cluster_state.h"
#include "transport/channel.h"

namespace kdn::node {

class NodeAuthenticator final : public transport::Authenticator {
 public:
  // An empty `cluster_secret` lets daemons come without a proof, over loopback only. `state`
  // outlives this object.
  NodeAuthenticator(const ClusterState& state, std::vector<std::byte> cluster_secret)
      : state_(state), cluster_secret_(std::move(cluster_secret)) {}

  [[nodiscard]] std::vector<std::byte> SecretOf(transport::PeerRole role,
                                                TenantId tenant) const override;
  [[nodiscard]] bool AllowsNone(transport::PeerRole role, TenantId tenant) const override;
  [[nodiscard]] Epoch epoch() const override { return state_.epoch(); }
  [[nodiscard]] std::uint64_t map_version() const override { return state_.view()->map.version; }

 private:
  const ClusterState& state_;
  const std::vector<std::byte> cluster_secret_;
};

}  // namespace kdn::node
