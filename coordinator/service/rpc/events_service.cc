#include "coordinator/service/rpc/events_service.h"

#include "coordinator/service/rpc/convert.h"

namespace kdn::coordinator::rpc {
namespace {

// Records of the directory per turn on the core's thread; lookups come in between.
constexpr std::uint32_t kRecordsPerTurn = 1024;
// How soon a reader that is gone is noticed when nothing happens.
constexpr std::chrono::milliseconds kIdleCheck{500};

struct SnapshotTurn {
  std::vector<v1::Event> events;
  std::uint64_t next = 0;
};

v1::Event StoredEvent(const StoredReplica& replica) {
  v1::Event event;
  event.set_kind(v1::Event::STORED);
  event.set_tenant_id(static_cast<std::uint64_t>(replica.name.tenant));
  event.set_chunk_key(BytesOf(replica.name.key));
  event.set_parent_key(BytesOf(replica.parent));
  event.set_model_fingerprint(BytesOf(replica.model));
  event.set_token_count(replica.token_count);
  event.set_node_id(static_cast<std::uint32_t>(replica.at.node));
  for (const std::string& level : LevelNames(replica.at.in_dram | replica.at.on_disk)) {
    event.add_levels(level);
  }
  return event;
}

v1::Event EventOf(const SequencedChange& sequenced) {
  const DirectoryChange& change = sequenced.change;
  v1::Event event;
  event.set_kind(change.stored ? v1::Event::STORED : v1::Event::REMOVED);
  event.set_tenant_id(static_cast<std::uint64_t>(change.tenant));
  event.set_chunk_key(BytesOf(change.key));
  event.set_parent_key(BytesOf(change.parent));
  event.set_model_fingerprint(BytesOf(change.model));
  event.set_token_count(change.token_count);
  event.set_node_id(static_cast<std::uint32_t>(change.node));
  for (const std::string& level : LevelNames(change.levels)) event.add_levels(level);
  event.set_sequence(sequenced.sequence);
  return event;
}

}  // namespace

grpc::Status EventsService::Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                                  grpc::ServerWriter<v1::Event>* writer) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  // Changes are gathered from before the snapshot is taken: what happens meanwhile is told twice
  // rather than not at all.
  const auto tenant = static_cast<TenantId>(request->tenant_id());
  const Result<EventHub::WatcherId> watcher = loop_.events().Add(tenant);
  if (!watcher) return ToGrpc(watcher.error());
  const Result<bool> watching = loop_.Ask<bool>([](Core& core) -> Result<bool> {
    core.directory().WatchChanges(true);
    return true;
  });
  Status status = watching ? Status() : watching.error();
  if (status.ok() && request->snapshot()) status = SendSnapshot(tenant, *context, *writer);
  if (status.ok()) status = SendChanges(*watcher, *context, *writer);
  loop_.events().Remove(*watcher);
  return ToGrpc(status);
}

Status EventsService::SendSnapshot(TenantId tenant, grpc::ServerContext& context,
                                   grpc::ServerWriter<v1::Event>& writer) {
  std::uint64_t cursor = 0;
  do {
    if (context.IsCancelled()) return Status(Code::kCancelled);
    const auto turn = loop_.Ask<SnapshotTurn>([tenant, cursor](Core& core) -> Result<SnapshotTurn> {
      SnapshotTurn found;
      found.next =
          core.directory().Scan(cursor, kRecordsPerTurn, [&](const StoredReplica& replica) {
            if (tenant != TenantId{} && replica.name.tenant != tenant) return;
            found.events.push_back(StoredEvent(replica));
          });
      return found;
    });
    if (!turn) return turn.error();
    for (const v1::Event& event : turn->events) {
      if (!writer.Write(event)) return Status(Code::kCancelled);
    }
    cursor = turn->next;
  } while (cursor != 0);
  v1::Event done;
  done.set_kind(v1::Event::SNAPSHOT_DONE);
  return writer.Write(done) ? Status() : Status(Code::kCancelled);
}

Status EventsService::SendChanges(EventHub::WatcherId watcher, grpc::ServerContext& context,
                                  grpc::ServerWriter<v1::Event>& writer) {
  while (!context.IsCancelled()) {
    const auto change = loop_.events().Next(watcher, kIdleCheck);
    if (!change) return change.error();
    if (*change && !writer.Write(EventOf(**change))) break;
  }
  return Status(Code::kCancelled);
}

}  // namespace kdn::coordinator::rpc
