// The coordinator's gRPC services as the verbs use them: one call each, with a deadline, errors as
// Status with a sentence that says what to do.
//
// Thread-safety: safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "kdn/v1/admin.grpc.pb.h"
#include "kdn/v1/contexts.grpc.pb.h"
#include "kdn/v1/directory.grpc.pb.h"
#include "kdn/v1/load.grpc.pb.h"

namespace kdn::admin {

class CoordinatorRpc {
 public:
  // An empty `cluster_secret` shows none: such a cluster asks for none.
  CoordinatorRpc(std::string endpoint, ConstBytes cluster_secret,
                 std::chrono::milliseconds timeout);

  [[nodiscard]] Result<v1::StatusResponse> GetStatus() const;
  [[nodiscard]] Result<v1::NodesResponse> Nodes() const;
  [[nodiscard]] Result<v1::OverviewResponse> Overview() const;
  [[nodiscard]] Result<v1::ListContextsResponse> ListContexts(
      const v1::ListContextsRequest& request) const;
  [[nodiscard]] Result<v1::Context> GetContext(std::uint64_t tenant_id,
                                               const std::string& name) const;
  [[nodiscard]] Result<v1::Context> SetContext(const v1::SetContextRequest& request) const;
  [[nodiscard]] Status DeleteContext(std::uint64_t tenant_id, const std::string& name) const;
  [[nodiscard]] Result<v1::DropResponse> Drop(const v1::DropRequest& request) const;
  [[nodiscard]] Result<v1::WhereResponse> Where(const v1::WhereRequest& request) const;
  // Calls `progress` for every message; the last has `done`. No deadline: objects take their time.
  [[nodiscard]] Status Verify(const v1::VerifyRequest& request,
                              const std::function<void(const v1::VerifyProgress&)>& progress) const;

  // Calls `take` with the bytes of a backup, in order; its first error ends the call. No deadline.
  [[nodiscard]] Status Backup(const std::function<Status(std::string_view)>& take) const;

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

 private:
  [[nodiscard]] Status StatusOf(const grpc::Status& status) const;
  void Bound(grpc::ClientContext& context) const;
  void ShowCredential(grpc::ClientContext& context) const;

  std::string endpoint_;
  std::string credential_;
  std::chrono::milliseconds timeout_;
  std::unique_ptr<v1::Admin::Stub> admin_;
  std::unique_ptr<v1::Contexts::Stub> contexts_;
  std::unique_ptr<v1::Directory::Stub> directory_;
  std::unique_ptr<v1::Load::Stub> load_;
};

}  // namespace kdn::admin
