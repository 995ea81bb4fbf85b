// kdn.v1.Directory: where chunks are, for tools.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/directory.grpc.pb.h"

namespace kdn::coordinator::rpc {

class DirectoryService final : public v1::Directory::Service {
 public:
  // `loop` and `callers` outlive this object.
  DirectoryService(CoreLoop& loop, const Callers& callers) : loop_(loop), callers_(callers) {}

  grpc::Status Where(grpc::ServerContext* context, const v1::WhereRequest* request,
                     v1::WhereResponse* response) override;
  grpc::Status Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                     v1::StatsResponse* response) override;

 private:
  CoreLoop& loop_;
  const Callers& callers_;
};

}  // namespace kdn::coordinator::rpc
