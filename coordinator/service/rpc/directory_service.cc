#include "coordinator/service/rpc/directory_service.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/limits.h"
#include "coordinator/service/rpc/convert.h"

namespace kdn::coordinator::rpc {
namespace {

// So many keys are looked up at a time; lookups of engines come in between.
constexpr std::size_t kKeysPerTurn = 512;

void FillReplica(const StoredReplica& replica, v1::Replica& out) {
  out.set_node_id(static_cast<std::uint32_t>(replica.at.node));
  out.set_part(replica.shape.number);
  for (const std::string& level : LevelNames(replica.at.in_dram)) out.add_dram_levels(level);
  for (const std::string& level : LevelNames(replica.at.on_disk)) out.add_disk_levels(level);
}

// What is stored under one key: of several puts the one that a lookup would return, else the one
// with the most parts.
void FillWhere(const Core& core, TenantId tenant, const ChunkKey& key, v1::ChunkWhere& out) {
  out.set_chunk_key(BytesOf(key));
  std::vector<StoredReplica> replicas;
  core.directory().Visit(tenant, key,
                         [&](const StoredReplica& replica) { replicas.push_back(replica); });
  if (replicas.empty()) return;
  PutId shown = replicas.front().name.put_id;
  wire::ChunkLocation usable;
  if (core.directory().Find({.tenant = tenant}, key, usable)) shown = usable.put_id;
  std::set<std::uint16_t> parts;
  for (const StoredReplica& replica : replicas) {
    if (replica.name.put_id != shown) continue;
    out.set_put_id(BytesOf(shown));
    out.set_token_count(replica.token_count);
    out.set_part_count(replica.shape.count);
    out.set_provenance(ToString(replica.provenance));
    FillReplica(replica, *out.add_replicas());
    if (!parts.insert(replica.shape.number).second) continue;
    for (const LevelInfo& info : Levels()) {
      const std::uint32_t bytes = replica.level_bytes[static_cast<std::size_t>(info.level)];
      if (bytes > 0) (*out.mutable_level_bytes())[std::string(info.name)] += bytes;
    }
  }
  out.set_parts_present(static_cast<std::uint32_t>(parts.size()));
}

Result<std::vector<ChunkKey>> KeysOfContext(CoreLoop& loop, const ContextName& id) {
  return loop.Ask<std::vector<ChunkKey>>([id](Core& core) -> Result<std::vector<ChunkKey>> {
    const Context* context = core.contexts().Find(id);
    if (context == nullptr) return Error(Code::kNotFound, "no context named '" + id.name + "'");
    return context->keys;
  });
}

}  // namespace

grpc::Status DirectoryService::Where(grpc::ServerContext* context, const v1::WhereRequest* request,
                                     v1::WhereResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto tenant = static_cast<TenantId>(request->tenant_id());
  Result<std::vector<ChunkKey>> keys = request->context().empty()
                                           ? KeysOf(request->chunk_keys())
                                           : KeysOfContext(loop_, {tenant, request->context()});
  if (!keys) return ToGrpc(keys.error());
  for (std::size_t from = 0; from < keys->size(); from += kKeysPerTurn) {
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    const std::size_t end = std::min(keys->size(), from + kKeysPerTurn);
    const std::vector<ChunkKey> turn(keys->begin() + static_cast<std::ptrdiff_t>(from),
                                     keys->begin() + static_cast<std::ptrdiff_t>(end));
    const auto found =
        loop_.Ask<v1::WhereResponse>([tenant, turn](Core& core) -> Result<v1::WhereResponse> {
          v1::WhereResponse chunks;
          for (const ChunkKey& key : turn) FillWhere(core, tenant, key, *chunks.add_chunks());
          return chunks;
        });
    if (!found) return ToGrpc(found.error());
    response->MergeFrom(*found);
  }
  return grpc::Status::OK;
}

grpc::Status DirectoryService::Stats(grpc::ServerContext* context, const v1::StatsRequest*,
                                     v1::StatsResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto stats = loop_.Ask<v1::StatsResponse>([](Core& core) -> Result<v1::StatsResponse> {
    v1::StatsResponse now;
    const DirectorySize size = core.directory().size();
    now.set_chunks(size.chunks);
    now.set_locations(size.locations);
    now.set_bytes_stored(size.bytes_stored);
    now.set_directory_bytes(size.memory_bytes);
    const LookupCounts& lookups = core.lookup_counts();
    now.set_lookups(lookups.lookups);
    now.set_lookup_keys(lookups.keys);
    now.set_lookup_hits(lookups.hits);
    return now;
  });
  if (!stats) return ToGrpc(stats.error());
  *response = *stats;
  return grpc::Status::OK;
}

}  // namespace kdn::coordinator::rpc
