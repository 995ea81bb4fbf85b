// kdn.v1.Admin: what an operator sees and does.
//
// Thread-safety: safe; called on gRPC's threads.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/service/core_loop.h"
#include "coordinator/service/rpc/callers.h"
#include "kdn/v1/admin.grpc.pb.h"

namespace kdn::coordinator::rpc {

class AdminService final : public v1::Admin::Service {
 public:
  // `loop` and `callers` outlive this object.
  AdminService(CoreLoop& loop, const Callers& callers, const ClusterId& cluster, Epoch epoch)
      : loop_(loop), callers_(callers), cluster_(cluster), epoch_(epoch) {}

  grpc::Status Status(grpc::ServerContext* context, const v1::StatusRequest* request,
                      v1::StatusResponse* response) override;
  grpc::Status Nodes(grpc::ServerContext* context, const v1::NodesRequest* request,
                     v1::NodesResponse* response) override;
  grpc::Status Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                      grpc::ServerWriter<v1::VerifyProgress>* writer) override;
  grpc::Status Drop(grpc::ServerContext* context, const v1::DropRequest* request,
                    v1::DropResponse* response) override;
  grpc::Status Backup(grpc::ServerContext* context, const v1::BackupRequest* request,
                      grpc::ServerWriter<v1::BackupBytes>* writer) override;

 private:
  // Which objects a call is about, a bounded share of them at a time.
  struct Selection {
    TenantId tenant{};
    bool everything = false;
    std::vector<ChunkKey> keys;
  };
  struct Share {
    std::map<std::string, std::vector<StoredReplica>> by_endpoint;  // of the shard that has them
    std::uint64_t next = 0;                                         // 0: that was all
  };

  [[nodiscard]] Result<Selection> SelectionOf(std::uint64_t tenant, const std::string& context,
                                              std::vector<ChunkKey> keys);
  [[nodiscard]] Result<Share> Take(const Selection& selection, std::uint64_t from);
  void Report(const std::vector<StoredReplica>& replicas, const wire::ObjectCodesResponse& codes);
  void VerifyShare(const Share& share, v1::VerifyProgress& progress);
  // Chunks of one context, or of all contexts of the tenant, that no live node has whole.
  [[nodiscard]] Result<std::uint64_t> CountLostChunks(TenantId tenant, const std::string& context);
  [[nodiscard]] kdn::Status DropShare(const Share& share, LevelSet levels, bool dry_run,
                                      v1::DropResponse& response);

  CoreLoop& loop_;
  const Callers& callers_;
  const ClusterId cluster_;
  const Epoch epoch_;
};

}  // namespace kdn::coordinator::rpc
