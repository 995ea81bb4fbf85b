// kdn.v1.Load: keeps what each node told last of its load, and shows it to tools together with the
// coordinator's own.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include <map>
#include <mutex>

#include "base/ids.h"
#include "base/metrics.h"
#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/load.grpc.pb.h"

namespace kdn::coordinator::rpc {

class LoadService final : public v1::Load::Service {
 public:
  // All that is referred to outlives this object.
  LoadService(CoreLoop& loop, const Callers& callers, const ClusterId& cluster, Epoch epoch,
              const MetricRegistry& metrics)
      : loop_(loop), callers_(callers), cluster_(cluster), epoch_(epoch), metrics_(metrics) {}

  grpc::Status Report(grpc::ServerContext* context, const v1::NodeLoad* request,
                      v1::ReportResponse* response) override;
  grpc::Status Overview(grpc::ServerContext* context, const v1::OverviewRequest* request,
                        v1::OverviewResponse* response) override;

 private:
  void FillCoordinator(v1::CoordinatorLoad& out) const;

  CoreLoop& loop_;
  const Callers& callers_;
  const ClusterId cluster_;
  const Epoch epoch_;
  const MetricRegistry& metrics_;
  std::mutex mutex_;
  std::map<std::uint32_t, v1::NodeLoad> loads_;  // by node; guarded by mutex_
};

}  // namespace kdn::coordinator::rpc
