// kdn.v1.Membership: nodes register, beat and report.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include <vector>

#include "coordinator/core/hard_state.h"
#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/membership.grpc.pb.h"

namespace kdn::coordinator::rpc {

class MembershipService final : public v1::Membership::Service {
 public:
  // `loop` and `callers` outlive this object. Tenants do not change while a coordinator runs, so
  // their version is its epoch.
  MembershipService(CoreLoop& loop, const Callers& callers, const ClusterId& cluster, Epoch epoch,
                    const std::vector<Tenant>& tenants);

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status Heartbeat(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorBeat, v1::NodeBeat>* stream) override;
  grpc::Status Inventory(grpc::ServerContext* context, const v1::InventoryRequest* request,
                         v1::InventoryResponse* response) override;

 private:
  [[nodiscard]] Result<v1::CoordinatorBeat> AnswerTo(const v1::NodeBeat& beat);
  [[nodiscard]] std::uint64_t NowMs() const;

  CoreLoop& loop_;
  const Callers& callers_;
  const ClusterId cluster_;
  const Epoch epoch_;
  std::vector<v1::TenantAccess> tenants_;
};

}  // namespace kdn::coordinator::rpc
