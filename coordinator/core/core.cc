#include "coordinator/core/core.h"

#include <utility>

#include "base/limits.h"

namespace kdn::coordinator {
namespace {

// What a chunk takes in an answer, at most: its own fields and those of each part with its
// replicas.
constexpr std::size_t kAnswerBytesPerChunk = 28;
constexpr std::size_t kAnswerBytesPerPart = 32 + 8 * limits::kReplicasMax;
constexpr std::uint32_t kSweptPerTick = 4096;
// Entries of an inventory for which memory is asked ahead.
constexpr std::size_t kSlotsAhead = 16;
constexpr std::size_t kRecordsAhead = 8;

std::uint64_t DrawWord(Random& random) {
  std::uint64_t word = 0;
  random.Fill(std::as_writable_bytes(std::span(&word, 1)));
  return word;
}

// Whether another chunk of this many parts surely fits into the answer to a call.
bool HasRoom(const wire::LookupResponseWriter& writer, std::size_t part_count) {
  return writer.size_bytes() + kAnswerBytesPerChunk + part_count * kAnswerBytesPerPart <=
         limits::kResponseBytesMax;
}

}  // namespace

Result<std::unique_ptr<Core>> Core::Make(const CoreOptions& options, const HardState& state,
                                         Random& random, TimePoint now) {
  KDN_ASSIGN_OR_RETURN(std::unique_ptr<PlacementPolicy> placement,
                       MakePlacementPolicy(options.placement));
  return std::unique_ptr<Core>(new Core(options, state, std::move(placement), random, now));
}

Core::Core(const CoreOptions& options, const HardState& state,
           std::unique_ptr<PlacementPolicy> placement, Random& random, TimePoint now)
    : epoch_(state.epoch),
      directory_(DrawWord(random)),
      membership_(options.membership, state.epoch, state.cluster, state.nodes, now),
      contexts_(state.contexts, write_ids_),
      puts_(options.puts, state.epoch, options.cluster_secret, std::move(placement), random,
            directory_, membership_) {
  for (const KnownNode& node : state.nodes) registered_[node.uuid] = node.registered;
}

void Core::Lookup(TenantId tenant, const wire::LookupRequestView& request, wire::Buffer& out) {
  const LookupFilter filter{tenant, request.floor, request.level_min};
  // Only with several live secrets are there several chains; then the longest match is sought
  // first.
  std::size_t best = 0;
  if (request.chains.size() > 1) {
    std::size_t longest = 0;
    for (std::size_t i = 0; i < request.chains.size(); ++i) {
      const std::size_t found = directory_.WalkChain(
          filter, request.chains[i], [](const wire::ChunkLocation&) { return true; });
      if (found > longest) {
        longest = found;
        best = i;
      }
    }
  }
  const bool is_current = request.known_map_version == membership_.map().version;
  no_map_.version = membership_.map().version;
  wire::LookupResponseWriter writer(out, epoch_, is_current ? no_map_ : membership_.map(),
                                    request.Accepts());
  writer.SetChain(static_cast<std::uint16_t>(best));
  if (!request.chains.empty()) {
    directory_.WalkChain(filter, request.chains[best], [&](const wire::ChunkLocation& chunk) {
      if (!HasRoom(writer, chunk.parts.size())) return false;
      writer.Add(chunk);
      return true;
    });
    lookup_counts_.keys += request.chains[best].size();
  }
  writer.Finish();
  ++lookup_counts_.lookups;
  lookup_counts_.hits += writer.chunk_count();
}

wire::PutStartResponse Core::PutStart(TenantId tenant, const wire::PutStartRequest& request,
                                      TimePoint now) {
  return puts_.Start(tenant, request, now);
}

void Core::PutCommit(TenantId tenant, const wire::PutCommitRequest& request, ReplyId reply,
                     TimePoint now, Actions& actions) {
  puts_.Commit(tenant, request, reply, now, actions);
}

Status Core::PutAbort(TenantId tenant, const wire::PutAbortRequest& request, Actions& actions) {
  return puts_.Abort(tenant, request, actions);
}

void Core::ChangeContext(const ContextName& id, ContextChange change, ReplyId reply,
                         Actions& actions) {
  if (Status status = CheckContextName(id.name); !status.ok()) {
    actions.answers.push_back({reply, std::unexpected(std::move(status))});
    return;
  }
  contexts_.Change(id, std::move(change), reply, actions);
}

void Core::Register(const NodeDescription& node, ReplyId reply, TimePoint now, Actions& actions) {
  if (Status status = membership_.MayRegister(node); !status.ok()) {
    actions.answers.push_back({reply, std::unexpected(std::move(status))});
    return;
  }
  std::optional<NodeId> id = membership_.IdOf(node.uuid);
  const auto stored = registered_.find(node.uuid);
  if (id && stored != registered_.end() && stored->second == epoch_) {
    FinishRegister(node, reply, now, actions);
    return;
  }
  // An id that somebody has heard of must never be given to another node, so it is on disk first.
  if (!id) id = membership_.NewId(node.uuid);
  MetaWrite write{write_ids_.Next(), {}};
  PutNode({node.uuid, *id, epoch_}, write.batch);
  joining_.emplace(write.id, Joining{node, reply});
  actions.writes.push_back(std::move(write));
}

void Core::FinishRegister(const NodeDescription& node, ReplyId reply, TimePoint now,
                          Actions& actions) {
  membership_.Register(node, now);
  const NodeId id = *membership_.IdOf(node.uuid);
  directory_.SetAlive(id, true);
  // It may be a new process that has lost what the last one committed, also since that one was
  // asked for a report it never sent.
  expected_reports_.erase(id);
  ExpectReport(id);
  actions.answers.push_back({reply, Registered{id, membership_.map()}});
}

void Core::OnWritten(WriteId write, const Status& status, TimePoint now, Actions& actions) {
  if (contexts_.OnWritten(write, status, actions)) return;
  const auto at = joining_.find(write);
  if (at == joining_.end()) return;
  const Joining joining = std::move(at->second);
  joining_.erase(at);
  if (!status.ok()) {
    actions.answers.push_back({joining.reply, std::unexpected(status)});
    return;
  }
  registered_[joining.node.uuid] = epoch_;
  FinishRegister(joining.node, joining.reply, now, actions);
}

Result<bool> Core::OnBeat(const Beat& beat, TimePoint now) {
  Result<bool> want_full = membership_.OnBeat(beat, now);
  if (want_full) directory_.SetAlive(beat.node, true);
  if (want_full && *want_full) ExpectReport(beat.node);
  return want_full;
}

// Asked again before its report has come, a node still sends one that began at the first asking.
void Core::ExpectReport(NodeId node) {
  if (expected_reports_.insert(node).second) directory_.ExpectReport(node);
}

Result<bool> Core::OnInventory(const InventoryBatch& batch, TimePoint now) {
  const Result<BatchVerdict> verdict =
      membership_.OnBatch(batch.node, batch.full, batch.first, batch.last, batch.sequence, now);
  if (!verdict) return std::unexpected(verdict.error());
  directory_.SetAlive(batch.node, true);
  if (verdict->apply) {
    const auto source = batch.full ? Directory::Source::kReport : Directory::Source::kChange;
    const auto prefetch = [&](std::size_t i, Directory::Ahead ahead) {
      if (i >= batch.entries.size()) return;
      directory_.Prefetch(batch.entries[i].tenant, batch.entries[i].key, ahead);
    };
    for (std::size_t i = 0; i < batch.entries.size(); ++i) {
      prefetch(i + kSlotsAhead, Directory::Ahead::kSlot);
      prefetch(i + kRecordsAhead, Directory::Ahead::kRecord);
      const wire::InventoryEntry& entry = batch.entries[i];
      directory_.Apply(batch.node, entry, source);
      if ((entry.in_dram | entry.on_disk).empty()) {
        puts_.OnGone(batch.node, {entry.tenant, entry.key, entry.shape.number, entry.put_id});
      }
    }
  }
  if (verdict->ends_report) {
    directory_.EndReport(batch.node);
    expected_reports_.erase(batch.node);
  }
  if (verdict->want_full) ExpectReport(batch.node);
  return verdict->want_full;
}

void Core::OnNodeAnswer(NodeCallId call, Code code, const wire::ObjectCodesResponse& codes,
                        Actions& actions) {
  (void)puts_.OnNodeAnswer(call, code, codes, actions);
}

void Core::Tick(TimePoint now, Actions& actions) {
  const Membership::Changes changes = membership_.Tick(now);
  for (const NodeId node : changes.died) directory_.SetAlive(node, false);
  for (const NodeId node : changes.forgotten) {
    directory_.Forget(node);
    expected_reports_.erase(node);
  }
  puts_.Tick(now, actions);
  directory_.Sweep(kSweptPerTick);
}

void Core::OnObjectLeft(const StoredReplica& replica, LevelSet left) {
  directory_.Apply(replica.at.node,
                   {.tenant = replica.name.tenant,
                    .key = replica.name.key,
                    .parent = replica.parent,
                    .chain_root = {},
                    .model = replica.model,
                    .put_id = replica.name.put_id,
                    .match_hash = {},
                    .shape = replica.shape,
                    .token_count = replica.token_count,
                    .provenance = replica.provenance,
                    .level_bytes = replica.level_bytes,
                    .in_dram = replica.at.in_dram & left,
                    .on_disk = replica.at.on_disk & left},
                   Directory::Source::kAnswer);
}

}  // namespace kdn::coordinator
