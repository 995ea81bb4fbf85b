#include "node/authenticator.h"

namespace kdn::node {

std::vector<std::byte> NodeAuthenticator::SecretOf(transport::PeerRole role,
                                                   TenantId tenant) const {
  if (role != transport::PeerRole::kClient) return cluster_secret_;
  const auto view = state_.view();
  const auto access = view->tenants.find(tenant);
  return access == view->tenants.end() ? std::vector<std::byte>{} : access->second.secret;
}

bool NodeAuthenticator::AllowsNone(transport::PeerRole role, TenantId tenant) const {
  if (role != transport::PeerRole::kClient) return cluster_secret_.empty();
  const auto view = state_.view();
  const auto access = view->tenants.find(tenant);
  return access != view->tenants.end() && access->second.allow_none;
}

}  // namespace kdn::node
