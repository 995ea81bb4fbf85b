// kdn.v1.Events: stored and removed chunks as they happen.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/events.grpc.pb.h"

namespace kdn::coordinator::rpc {

class EventsService final : public v1::Events::Service {
 public:
  // `loop` and `callers` outlive this object.
  EventsService(CoreLoop& loop, const Callers& callers) : loop_(loop), callers_(callers) {}

  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::Event>* writer) override;

 private:
  [[nodiscard]] Status SendSnapshot(TenantId tenant, grpc::ServerContext& context,
                                    grpc::ServerWriter<v1::Event>& writer);
  [[nodiscard]] Status SendChanges(EventHub::WatcherId watcher, grpc::ServerContext& context,
                                   grpc::ServerWriter<v1::Event>& writer);

  CoreLoop& loop_;
  const Callers& callers_;
};

}  // namespace kdn::coordinator::rpc
