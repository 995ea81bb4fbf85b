#include "coordinator/service/rpc/callers.h"

#include <string_view>

#include "base/crypto.h"
#include "proto/kdn/v1/credential.h"

namespace kdn::coordinator::rpc {

Callers::Callers(ConstBytes cluster_secret) : credential_(v1::CredentialOf(cluster_secret)) {}

grpc::Status Callers::Admit(const grpc::ServerContext& context) const {
  if (credential_.empty()) return grpc::Status::OK;
  const auto shown = context.client_metadata().find(v1::kCredentialKey);
  const std::string_view text = shown == context.client_metadata().end()
                                    ? std::string_view()
                                    : std::string_view(shown->second.data(), shown->second.size());
  if (EqualInConstantTime(AsBytes(text), AsBytes(credential_))) return grpc::Status::OK;
  return {grpc::StatusCode::UNAUTHENTICATED, "the caller has not shown the cluster's secret"};
}

}  // namespace kdn::coordinator::rpc
