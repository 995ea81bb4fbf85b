// kdn.v1.Contexts: named contexts, for tools.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/contexts.grpc.pb.h"

namespace kdn::coordinator::rpc {

class ContextsService final : public v1::Contexts::Service {
 public:
  // `loop` and `callers` outlive this object.
  ContextsService(CoreLoop& loop, const Callers& callers) : loop_(loop), callers_(callers) {}

  grpc::Status Get(grpc::ServerContext* context, const v1::GetContextRequest* request,
                   v1::Context* response) override;
  grpc::Status List(grpc::ServerContext* context, const v1::ListContextsRequest* request,
                    v1::ListContextsResponse* response) override;
  grpc::Status Set(grpc::ServerContext* context, const v1::SetContextRequest* request,
                   v1::Context* response) override;
  grpc::Status Delete(grpc::ServerContext* context, const v1::DeleteContextRequest* request,
                      v1::DeleteContextResponse* response) override;

 private:
  [[nodiscard]] Result<Context> Change(const ContextName& id, const ContextChange& change);

  CoreLoop& loop_;
  const Callers& callers_;
};

}  // namespace kdn::coordinator::rpc
