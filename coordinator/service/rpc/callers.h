// Who may call the coordinator's gRPC services: daemons and tools that know the cluster's secret.
// Every method of every service asks first; tests/coordinator/callers_test.cc calls them all.
//
// Thread-safety: immutable after construction.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "base/bytes.h"

namespace kdn::coordinator::rpc {

class Callers {
 public:
  // An empty secret lets everybody in who can reach the port, which is on loopback.
  explicit Callers(ConstBytes cluster_secret);

  // UNAUTHENTICATED unless the caller has shown the credential (proto/kdn/v1/credential.h).
  [[nodiscard]] grpc::Status Admit(const grpc::ServerContext& context) const;

 private:
  const std::string credential_;
};

}  // namespace kdn::coordinator::rpc
