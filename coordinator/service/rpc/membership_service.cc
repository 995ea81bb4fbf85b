#include "coordinator/service/rpc/membership_service.h"

#include <algorithm>
#include <utility>

#include "coordinator/service/rpc/convert.h"

namespace kdn::coordinator::rpc {
namespace {

// 4 MiB, about what gRPC takes in one message; and few enough not to keep lookups waiting.
constexpr std::size_t kEntriesPerBatchMax = 16 * 1024;

Result<NodeDescription> DescriptionOf(const v1::RegisterRequest& request) {
  NodeDescription node;
  KDN_ASSIGN_OR_RETURN(node.uuid, IdOf<PeerId>(request.node_uuid(), "node_uuid"));
  KDN_ASSIGN_OR_RETURN(node.host, IdOf<HostId>(request.host_id(), "host_id"));
  if (!request.cluster_id().empty()) {
    KDN_ASSIGN_OR_RETURN(node.cluster, IdOf<ClusterId>(request.cluster_id(), "cluster_id"));
  }
  node.shards.assign(request.shard_endpoints().begin(), request.shard_endpoints().end());
  node.dram_bytes = request.dram_bytes();
  node.disk_bytes = request.disk_bytes();
  node.epoch_seen = static_cast<Epoch>(request.epoch_seen());
  node.version = request.version();
  return node;
}

Result<InventoryBatch> BatchOf(const v1::InventoryRequest& request) {
  InventoryBatch batch{.node = static_cast<NodeId>(request.node_id()),
                       .full = request.full(),
                       .first = request.first(),
                       .last = request.last(),
                       .sequence = request.sequence(),
                       .entries = {}};
  const std::string& bytes = request.entries();
  const std::size_t count = bytes.size() / wire::kInventoryEntryBytes;
  if (bytes.size() % wire::kInventoryEntryBytes != 0 || count > kEntriesPerBatchMax) {
    return Error(Code::kInvalidArgument,
                 "an inventory of " + std::to_string(bytes.size()) + " bytes is not a batch");
  }
  ByteReader in(AsBytes(bytes));
  batch.entries.reserve(count);
  for (std::size_t i = 0; i < count; ++i) batch.entries.push_back(wire::InventoryEntry::Decode(in));
  if (!in.ok()) return Error(Code::kInvalidArgument, "an inventory entry is malformed");
  return batch;
}

}  // namespace

MembershipService::MembershipService(CoreLoop& loop, const Callers& callers,
                                     const ClusterId& cluster, Epoch epoch,
                                     const std::vector<Tenant>& tenants)
    : loop_(loop), callers_(callers), cluster_(cluster), epoch_(epoch) {
  for (const Tenant& tenant : tenants) {
    v1::TenantAccess& access = tenants_.emplace_back();
    access.set_tenant_id(static_cast<std::uint64_t>(tenant.id));
    access.set_access_secret(std::string(AsText(tenant.access_secret)));
    access.set_allow_none(tenant.allow_none);
    access.set_requests_per_second(tenant.rate.requests_per_second);
    access.set_bytes_per_second(tenant.rate.bytes_per_second);
  }
}

std::uint64_t MembershipService::NowMs() const {
  const auto since = loop_.clock().Now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

grpc::Status MembershipService::Register(grpc::ServerContext* context,
                                         const v1::RegisterRequest* request,
                                         v1::RegisterResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const Result<NodeDescription> node = DescriptionOf(*request);
  if (!node) return ToGrpc(node.error());
  const Result<CoreLoop::Decided> decided =
      loop_.AskLater([node = *node](Core& core, ReplyId reply, TimePoint now, Actions& actions) {
        core.Register(node, reply, now, actions);
      });
  if (!decided) return ToGrpc(decided.error());
  const auto& registered = std::get<Registered>(*decided);
  response->set_node_id(static_cast<std::uint32_t>(registered.node));
  response->set_epoch(static_cast<std::uint32_t>(epoch_));
  response->set_cluster_id(BytesOf(cluster_));
  for (const v1::TenantAccess& tenant : tenants_) *response->add_tenants() = tenant;
  FillNodeList(registered.map, *response->mutable_nodes());
  response->set_coordinator_now_ms(NowMs());
  return grpc::Status::OK;
}

Result<v1::CoordinatorBeat> MembershipService::AnswerTo(const v1::NodeBeat& beat) {
  Beat event{.node = static_cast<NodeId>(beat.node_id()),
             .dram_bytes_used = beat.dram_bytes_used(),
             .disk_bytes_used = beat.disk_bytes_used(),
             .objects = beat.objects(),
             .corrupt_objects_found = beat.corrupt_objects_found()};
  if (beat.heard_coordinator_ms() != 0) {
    const std::uint64_t now_ms = NowMs();
    event.heard_ago =
        std::chrono::milliseconds(now_ms - std::min(now_ms, beat.heard_coordinator_ms()));
  }
  const std::uint64_t known_map = beat.known_map_version();
  v1::CoordinatorBeat answer;
  KDN_ASSIGN_OR_RETURN(answer,
                       loop_.Ask<v1::CoordinatorBeat>(
                           [this, event, known_map](Core& core) -> Result<v1::CoordinatorBeat> {
                             const auto want_full = core.OnBeat(event, loop_.clock().Now());
                             if (!want_full) return std::unexpected(want_full.error());
                             v1::CoordinatorBeat told;
                             told.set_want_full_inventory(*want_full);
                             const wire::NodeMap& map = core.membership().map();
                             if (map.version != known_map) {
                               FillNodeList(map, *told.mutable_nodes());
                             }
                             return told;
                           }));
  answer.set_epoch(static_cast<std::uint32_t>(epoch_));
  answer.set_coordinator_now_ms(NowMs());
  answer.set_tenants_version(static_cast<std::uint32_t>(epoch_));
  if (beat.known_tenants_version() != answer.tenants_version()) {
    for (const v1::TenantAccess& tenant : tenants_) *answer.add_tenants() = tenant;
  }
  return answer;
}

grpc::Status MembershipService::Heartbeat(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::CoordinatorBeat, v1::NodeBeat>* stream) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  v1::NodeBeat beat;
  while (stream->Read(&beat)) {
    const Result<v1::CoordinatorBeat> answer = AnswerTo(beat);
    if (!answer) return ToGrpc(answer.error());
    if (!stream->Write(*answer)) break;
  }
  return grpc::Status::OK;
}

grpc::Status MembershipService::Inventory(grpc::ServerContext* context,
                                          const v1::InventoryRequest* request,
                                          v1::InventoryResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  Result<InventoryBatch> batch = BatchOf(*request);
  if (!batch) return ToGrpc(batch.error());
  // Shared with a task that may run after this call has given up.
  const auto shared = std::make_shared<const InventoryBatch>(std::move(*batch));
  const Result<bool> want_full = loop_.Ask<bool>(
      [this, shared](Core& core) { return core.OnInventory(*shared, loop_.clock().Now()); });
  if (!want_full) return ToGrpc(want_full.error());
  response->set_want_full_inventory(*want_full);
  return grpc::Status::OK;
}

}  // namespace kdn::coordinator::rpc
