// Who may connect to the coordinator's transport port: tenants under their access secrets, daemons
// and tools under the cluster's.
//
// Thread-safety: asked on the core's thread; immutable but for the map version.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "coordinator/core/hard_state.h"
#include "transport/channel.h"

namespace kdn::coordinator {

class Credentials final : public transport::Authenticator {
 public:
  // An empty `cluster_secret` lets daemons and tools come without a proof, over loopback only.
  Credentials(const std::vector<Tenant>& tenants, std::vector<std::byte> cluster_secret,
              Epoch epoch);

  [[nodiscard]] std::vector<std::byte> SecretOf(transport::PeerRole role,
                                                TenantId tenant) const override;
  [[nodiscard]] bool AllowsNone(transport::PeerRole role, TenantId tenant) const override;
  [[nodiscard]] Epoch epoch() const override { return epoch_; }
  [[nodiscard]] std::uint64_t map_version() const override { return map_version_; }

  void SetMapVersion(std::uint64_t version) { map_version_ = version; }

 private:
  std::map<TenantId, Tenant> tenants_;
  const std::vector<std::byte> cluster_secret_;
  const Epoch epoch_;
  std::atomic<std::uint64_t> map_version_{0};  // loopback asks on the connecting thread
};

}  // namespace kdn::coordinator
