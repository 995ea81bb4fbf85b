#include "coordinator/service/rpc/admin_service.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "coordinator/service/rpc/convert.h"
#include "proto/backup/backup.h"
#include "proto/object/chunk_key.h"

namespace kdn::coordinator::rpc {
namespace {

// Objects per turn: a verification of this many ends well within the timeout even from a slow disk,
// and progress is told after each.
constexpr std::uint32_t kObjectsPerTurn = 64;
constexpr std::chrono::milliseconds kVerifyTimeout{30000};
constexpr std::chrono::milliseconds kDropTimeout{5000};
// Well below what gRPC takes as one message.
constexpr std::size_t kBackupMessageBytes = 1U << 20;

void FillNode(const NodeState& node, TimePoint now, v1::Node& out) {
  const NodeDescription& description = node.description;
  out.set_node_id(static_cast<std::uint32_t>(node.id));
  out.set_state(node.alive ? "alive" : "dead");
  for (const std::string& shard : description.shards) out.add_shard_endpoints(shard);
  out.set_dram_bytes(description.dram_bytes);
  out.set_dram_bytes_used(node.last_beat.dram_bytes_used);
  out.set_disk_bytes(description.disk_bytes);
  out.set_disk_bytes_used(node.last_beat.disk_bytes_used);
  out.set_objects(node.last_beat.objects);
  out.set_silent_ms(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now - node.heard).count()));
  out.set_version(description.version);
  out.set_corrupt_objects_found(node.last_beat.corrupt_objects_found);
}

void FillStatus(const Core& core, TimePoint now, v1::StatusResponse& out) {
  for (const auto& [id, node] : core.membership().nodes()) {
    if (!node.alive) {
      out.set_nodes_dead(out.nodes_dead() + 1);
      continue;
    }
    out.set_nodes_alive(out.nodes_alive() + 1);
    out.set_dram_bytes(out.dram_bytes() + node.description.dram_bytes);
    out.set_dram_bytes_used(out.dram_bytes_used() + node.last_beat.dram_bytes_used);
    out.set_disk_bytes_used(out.disk_bytes_used() + node.last_beat.disk_bytes_used);
  }
  out.set_chunks(core.directory().size().chunks);
  out.set_contexts(core.contexts().count());
  out.set_inventories_complete(core.membership().InventoriesComplete(now));
}

}  // namespace

grpc::Status AdminService::Status(grpc::ServerContext* context, const v1::StatusRequest*,
                                  v1::StatusResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto status =
      loop_.Ask<v1::StatusResponse>([this](Core& core) -> Result<v1::StatusResponse> {
        v1::StatusResponse now;
        FillStatus(core, loop_.clock().Now(), now);
        return now;
      });
  if (!status) return ToGrpc(status.error());
  *response = *status;
  response->set_cluster_id(BytesOf(cluster_));
  response->set_epoch(static_cast<std::uint32_t>(epoch_));
  response->set_version(KDN_VERSION);
  const auto uptime = loop_.clock().Now() - loop_.began();
  response->set_uptime_ms(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(uptime).count()));
  return grpc::Status::OK;
}

grpc::Status AdminService::Nodes(grpc::ServerContext* context, const v1::NodesRequest*,
                                 v1::NodesResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto nodes = loop_.Ask<v1::NodesResponse>([this](Core& core) -> Result<v1::NodesResponse> {
    v1::NodesResponse all;
    for (const auto& [id, node] : core.membership().nodes()) {
      FillNode(node, loop_.clock().Now(), *all.add_nodes());
    }
    return all;
  });
  if (!nodes) return ToGrpc(nodes.error());
  *response = *nodes;
  return grpc::Status::OK;
}

grpc::Status AdminService::Backup(grpc::ServerContext* context, const v1::BackupRequest*,
                                  grpc::ServerWriter<v1::BackupBytes>* writer) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto written_s = std::chrono::duration_cast<std::chrono::seconds>(since).count();
  const std::unique_ptr<MetaSnapshot> snapshot = loop_.TakeSnapshot();
  backup::Writer out(
      {.cluster = cluster_, .epoch = epoch_, .written_s = static_cast<std::uint64_t>(written_s)},
      [writer](ConstBytes bytes) {
        while (!bytes.empty()) {
          const ConstBytes next = bytes.first(std::min(bytes.size(), kBackupMessageBytes));
          v1::BackupBytes some;
          some.set_bytes(std::string(AsText(next)));
          if (!writer->Write(some)) return kdn::Status(Code::kCancelled);
          bytes = bytes.subspan(next.size());
        }
        return kdn::Status();
      });
  kdn::Status status = snapshot->Scan(
      "", [&](std::string_view key, std::string_view value) { return out.Add(key, value); });
  if (status.ok()) status = out.Finish();
  return status.ok() ? grpc::Status::OK : ToGrpc(status);
}

Result<AdminService::Selection> AdminService::SelectionOf(std::uint64_t tenant,
                                                          const std::string& context,
                                                          std::vector<ChunkKey> keys) {
  Selection selection{static_cast<TenantId>(tenant), false, std::move(keys)};
  if (context.empty()) {
    selection.everything = selection.keys.empty();
    return selection;
  }
  const ContextName id{selection.tenant, context};
  KDN_ASSIGN_OR_RETURN(
      selection.keys,
      loop_.Ask<std::vector<ChunkKey>>([id](Core& core) -> Result<std::vector<ChunkKey>> {
        const Context* found = core.contexts().Find(id);
        if (found == nullptr) return Error(Code::kNotFound, "no context named '" + id.name + "'");
        return found->keys;
      }));
  return selection;
}

Result<AdminService::Share> AdminService::Take(const Selection& selection, std::uint64_t from) {
  std::vector<ChunkKey> keys;
  if (!selection.everything) {
    const std::size_t end = std::min<std::size_t>(selection.keys.size(), from + kObjectsPerTurn);
    keys.assign(selection.keys.begin() + static_cast<std::ptrdiff_t>(from),
                selection.keys.begin() + static_cast<std::ptrdiff_t>(end));
  }
  const TenantId tenant = selection.tenant;
  const bool everything = selection.everything;
  KDN_ASSIGN_OR_RETURN(
      Share share, loop_.Ask<Share>([tenant, everything, keys, from](Core& core) -> Result<Share> {
        Share taken;
        const Directory::Visitor add = [&](const StoredReplica& replica) {
          if (tenant != TenantId{} && replica.name.tenant != tenant) return;
          const auto& shards = core.membership().Find(replica.at.node)->description.shards;
          const auto shard =
              ShardOfKey(replica.name.key, static_cast<std::uint32_t>(shards.size()));
          taken.by_endpoint[shards[shard]].push_back(replica);
        };
        if (everything) taken.next = core.directory().Scan(from, kObjectsPerTurn, add);
        for (const ChunkKey& key : keys) core.directory().Visit(tenant, key, add);
        return taken;
      }));
  if (!everything && from + keys.size() < selection.keys.size()) share.next = from + keys.size();
  return share;
}

// The directory hears at once what the nodes will report anyway.
void AdminService::Report(const std::vector<StoredReplica>& replicas,
                          const wire::ObjectCodesResponse& codes) {
  (void)loop_.Ask<bool>([replicas, codes](Core& core) -> Result<bool> {
    for (std::size_t i = 0; i < codes.objects.size(); ++i) {
      const Code code = codes.objects[i].code;
      if (code == Code::kOk) continue;
      if (code == Code::kNotFound) core.OnObjectLeft(replicas[i], LevelSet());
      if (code == Code::kDataLoss) core.OnObjectLeft(replicas[i], codes.objects[i].on_disk);
    }
    return true;
  });
}

void AdminService::VerifyShare(const Share& share, v1::VerifyProgress& progress) {
  for (const auto& [endpoint, replicas] : share.by_endpoint) {
    wire::VerifyObjectsRequest request;
    request.epoch = epoch_;
    for (const StoredReplica& replica : replicas) request.objects.push_back(replica.name);
    wire::Buffer bytes;
    request.Encode(bytes);
    const auto codes = loop_.AskNode(endpoint, std::move(bytes), kVerifyTimeout);
    const bool whole = codes && codes->objects.size() == replicas.size();
    if (!whole) continue;  // A node that does not answer leaves its objects unchecked.
    for (const auto& object : codes->objects) {
      progress.set_objects_checked(progress.objects_checked() + 1);
      if (object.code == Code::kDataLoss)
        progress.set_objects_corrupt(progress.objects_corrupt() + 1);
      if (object.code == Code::kNotFound)
        progress.set_objects_missing(progress.objects_missing() + 1);
    }
    Report(replicas, *codes);
  }
}

Result<std::uint64_t> AdminService::CountLostChunks(TenantId tenant, const std::string& context) {
  struct Counted {
    std::uint64_t lost = 0;
    std::optional<ContextName> next;
  };
  std::uint64_t lost = 0;
  std::optional<ContextName> turn = ContextName{tenant, context};
  while (turn) {
    const ContextName after = *turn;
    const bool one = !context.empty();
    // One context a turn: the loop has others to serve.
    KDN_ASSIGN_OR_RETURN(
        const Counted counted,
        loop_.Ask<Counted>([tenant, one, after](Core& core) -> Result<Counted> {
          Counted turn_counted;
          const Context* found = nullptr;
          if (one) {
            found = core.contexts().Find(after);
          } else if (const auto listed = core.contexts().List(tenant, "", after, 1);
                     !listed.empty()) {
            found = listed.front();
            turn_counted.next = found->id;
          }
          if (found == nullptr) return turn_counted;
          for (const ChunkKey& key : found->keys) {
            bool whole = false;
            core.directory().Visit(found->id.tenant, key, [&](const StoredReplica& replica) {
              whole |= core.directory().IsComplete(found->id.tenant, key, replica.name.put_id);
            });
            if (!whole) ++turn_counted.lost;
          }
          return turn_counted;
        }));
    lost += counted.lost;
    turn = counted.next;
  }
  return lost;
}

grpc::Status AdminService::Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                                  grpc::ServerWriter<v1::VerifyProgress>* writer) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto selection = SelectionOf(request->tenant_id(), request->context(), {});
  if (!selection) return ToGrpc(selection.error());
  v1::VerifyProgress progress;
  for (const bool counting : {true, false}) {
    std::uint64_t from = 0;
    do {
      const Result<Share> share = Take(*selection, from);
      if (!share) return ToGrpc(share.error());
      if (counting) {
        for (const auto& [endpoint, replicas] : share->by_endpoint) {
          progress.set_objects_total(progress.objects_total() + replicas.size());
        }
      } else {
        VerifyShare(*share, progress);
        if (!writer->Write(progress) || context->IsCancelled()) return grpc::Status::CANCELLED;
      }
      from = share->next;
    } while (from != 0);
  }
  const auto lost =
      CountLostChunks(static_cast<TenantId>(request->tenant_id()), request->context());
  if (!lost) return ToGrpc(lost.error());
  progress.set_chunks_lost(*lost);
  progress.set_done(true);
  (void)writer->Write(progress);
  return grpc::Status::OK;
}

kdn::Status AdminService::DropShare(const Share& share, LevelSet levels, bool dry_run,
                                    v1::DropResponse& response) {
  for (const auto& [endpoint, replicas] : share.by_endpoint) {
    wire::DropObjectsRequest request;
    request.epoch = epoch_;
    for (const StoredReplica& replica : replicas) {
      request.objects.push_back({replica.name, levels});
    }
    if (!dry_run) {
      wire::Buffer bytes;
      request.Encode(bytes);
      const auto codes = loop_.AskNode(endpoint, std::move(bytes), kDropTimeout);
      if (!codes) return codes.error();
      const LevelSet left(static_cast<std::uint8_t>(kAllLevels.bits() & ~levels.bits()));
      (void)loop_.Ask<bool>([replicas, left](Core& core) -> Result<bool> {
        for (const StoredReplica& replica : replicas) core.OnObjectLeft(replica, left);
        return true;
      });
    }
    for (const StoredReplica& replica : replicas) {
      response.set_objects(response.objects() + 1);
      response.set_bytes(
          response.bytes() +
          SumOfLevels(replica.level_bytes, levels & (replica.at.in_dram | replica.at.on_disk)));
    }
  }
  return {};
}

grpc::Status AdminService::Drop(grpc::ServerContext* context, const v1::DropRequest* request,
                                v1::DropResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  Result<std::vector<ChunkKey>> keys = KeysOf(request->chunk_keys());
  const Result<LevelSet> levels = LevelsOf(request->levels());
  if (!keys) return ToGrpc(keys.error());
  if (!levels) return ToGrpc(levels.error());
  if (request->context().empty() && keys->empty()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "name a context or chunk keys to drop"};
  }
  const auto selection = SelectionOf(request->tenant_id(), request->context(), std::move(*keys));
  if (!selection) return ToGrpc(selection.error());
  if (selection->everything) return grpc::Status::OK;  // a context without chunks
  std::uint64_t from = 0;
  do {
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    const Result<Share> share = Take(*selection, from);
    if (!share) return ToGrpc(share.error());
    const kdn::Status dropped = DropShare(*share, *levels, request->dry_run(), *response);
    if (!dropped.ok()) return ToGrpc(dropped);
    from = share->next;
  } while (from != 0);
  return grpc::Status::OK;
}

}  // namespace kdn::coordinator::rpc
