#include "coordinator/service/credentials.h"

#include <utility>

namespace kdn::coordinator {

Credentials::Credentials(const std::vector<Tenant>& tenants, std::vector<std::byte> cluster_secret,
                         Epoch epoch)
    : cluster_secret_(std::move(cluster_secret)), epoch_(epoch) {
  for (const Tenant& tenant : tenants) tenants_.emplace(tenant.id, tenant);
}

std::vector<std::byte> Credentials::SecretOf(transport::PeerRole role, TenantId tenant) const {
  if (role != transport::PeerRole::kClient) return cluster_secret_;
  const auto known = tenants_.find(tenant);
  return known == tenants_.end() ? std::vector<std::byte>() : known->second.access_secret;
}

bool Credentials::AllowsNone(transport::PeerRole role, TenantId tenant) const {
  if (role != transport::PeerRole::kClient) return cluster_secret_.empty();
  const auto known = tenants_.find(tenant);
  return known != tenants_.end() && known->second.allow_none;
}

}  // namespace kdn::coordinator
