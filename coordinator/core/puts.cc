#include "coordinator/core/puts.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "proto/object/chunk_key.h"

namespace kdn::coordinator {
namespace {

constexpr std::size_t kNoChunk = static_cast<std::size_t>(-1);
constexpr std::chrono::milliseconds kGraceOfCommits{1000};
// A node answers a call once all of it is on disk, so a call has few bytes: what is durable is told
// soon, and one slow object keeps few others waiting.
constexpr std::uint64_t kCommitBytesPerCall = 8 * limits::kMiB;
// With a second or two per call this is longer than any writer waits.
constexpr int kAskedMax = 30;

std::size_t IndexOf(const wire::Ticket& ticket, const ChunkKey& key) {
  const auto at = std::ranges::find(ticket.keys, key);
  return at == ticket.keys.end() ? kNoChunk : static_cast<std::size_t>(at - ticket.keys.begin());
}

}  // namespace

Puts::Puts(const PutOptions& options, Epoch epoch, std::vector<std::byte> cluster_secret,
           std::unique_ptr<PlacementPolicy> placement, Random& random, Directory& directory,
           Membership& membership)
    : options_(options),
      epoch_(epoch),
      cluster_key_(cluster_secret),
      placement_(std::move(placement)),
      random_(random),
      directory_(directory),
      membership_(membership) {}

bool Puts::HasAllParts(const Chunk& chunk) {
  return std::ranges::all_of(chunk.parts, &Part::known);
}

bool Puts::IsOut(const Chunk& chunk) {
  return std::ranges::any_of(chunk.parts, [](const Part& part) {
    return std::ranges::any_of(
        part.replicas, [](const Replica& replica) { return replica.state == ReplicaState::kSent; });
  });
}

bool Puts::IsConfirmed(const Chunk& chunk) {
  return std::ranges::all_of(chunk.parts, [](const Part& part) {
    return std::ranges::any_of(part.replicas, [](const Replica& replica) {
      return replica.state == ReplicaState::kConfirmed;
    });
  });
}

// Whether the parts, of which no two intersect, leave no gap: layers from 0 on, in each of them
// heads from 0 on. How many there are of each is known to those alone who have the model's spec;
// layers may differ in heads.
bool Puts::LeavesNoGap(const Chunk& chunk) {
  std::uint32_t layer_end = 0;
  for (const Part& part : chunk.parts) layer_end = std::max(layer_end, part.shape.layers.end());
  for (std::uint32_t layer = 0; layer < layer_end; ++layer) {
    std::uint32_t heads = 0;
    std::uint32_t head_end = 0;
    for (const Part& part : chunk.parts) {
      if (layer < part.shape.layers.first || layer >= part.shape.layers.end()) continue;
      heads += part.shape.kv_heads.count;
      head_end = std::max(head_end, part.shape.kv_heads.end());
    }
    if (heads == 0 || heads != head_end) return false;
  }
  return layer_end > 0;
}

// --- Commit ---

void Puts::Commit(TenantId tenant, const wire::PutCommitRequest& request, ReplyId reply,
                  TimePoint now, Actions& actions) {
  // 1. The ticket must be ours, this tenant's, and of a put that is still kept. A commit that was
  //    answered already is answered again, even if only the directory remembers.
  const Result<wire::Ticket> ticket = wire::OpenTicket(request.ticket, cluster_key_);
  if (!ticket || ticket->tenant != tenant) {
    actions.answers.push_back(
        {reply, Error(Code::kPermissionDenied, "not a ticket of this tenant")});
    return;
  }
  const auto open = puts_.find(ticket->put_id);
  if (open == puts_.end()) {
    wire::PutCommitResponse response;
    if (WasCommitted(tenant, *ticket, request, response)) {
      actions.answers.push_back({reply, std::move(response)});
    } else {
      actions.answers.push_back({reply, Error(Code::kAborted, "the put is no longer open")});
    }
    return;
  }
  // 2. Note what the replicas acknowledged.
  Put& put = open->second;
  WaitingReply waiting{reply, request.head.version >= wire::kPutCommitVersionCodes, {}};
  for (const wire::PutCommitRequest::Object& object : request.objects) {
    std::size_t chunk = IndexOf(put.ticket, object.key);
    if (chunk != kNoChunk && !NotePart(put, put.chunks[chunk], object)) chunk = kNoChunk;
    waiting.chunks.push_back(chunk);
  }
  // 3. Tell the nodes about chunks whose last part is in; answer once they have answered.
  put.waiting.push_back(std::move(waiting));
  put.expires = std::max(put.expires, now + kGraceOfCommits);
  SendCommits(put, actions);
  AnswerWaiting(put, actions);
  FlushDrops(actions);
}

bool Puts::WasCommitted(TenantId tenant, const wire::Ticket& ticket,
                        const wire::PutCommitRequest& request,
                        wire::PutCommitResponse& response) const {
  for (const wire::PutCommitRequest::Object& object : request.objects) {
    if (!directory_.IsComplete(tenant, object.key, ticket.put_id)) return false;
    response.objects.push_back({wire::CommitState::kVisible, 1, 0});
  }
  return !request.objects.empty();
}

// False if the object cannot be part of this put: another part count, a node that has no ticket,
// bytes other than those that were acknowledged before, a share of the model that another part has
// too, or the last part and a share that none has. Then the chunk stays open until its put expires.
bool Puts::NotePart(Put& put, Chunk& chunk, const wire::PutCommitRequest::Object& object) {
  const PartShape& shape = object.shape;
  if (chunk.state == ChunkState::kFailed || shape.count != put.ticket.part_count ||
      shape.number >= shape.count || shape.layers.count == 0 || shape.kv_heads.count == 0 ||
      object.acks.empty()) {
    return false;
  }
  Part& part = chunk.parts[shape.number];
  const ObjectDigest& digest = part.known ? part.digest : object.acks.front().digest;
  for (const wire::ReplicaAck& ack : object.acks) {
    if (ack.digest != digest) return false;
    if (std::ranges::find(put.ticket.nodes, ack.node) == put.ticket.nodes.end()) return false;
  }
  if (!part.known) {
    for (const Part& other : chunk.parts) {
      if (other.known && other.shape.layers.Intersects(shape.layers) &&
          other.shape.kv_heads.Intersects(shape.kv_heads)) {
        return false;
      }
    }
    part = {.known = true,
            .shape = shape,
            .level_bytes = object.level_bytes,
            .digest = digest,
            .replicas = {}};
    if (HasAllParts(chunk) && !LeavesNoGap(chunk)) {
      part = {};
      return false;
    }
  }
  for (const wire::ReplicaAck& ack : object.acks) {
    if (std::ranges::find(part.replicas, ack.node, &Replica::node) == part.replicas.end()) {
      part.replicas.push_back({.node = ack.node, .on_disk = {}});
    }
  }
  return true;
}

void Puts::SendCommits(Put& put, Actions& actions) {
  std::map<std::pair<NodeId, std::uint32_t>, std::vector<SentObject>> by_shard;
  for (std::size_t i = 0; i < put.chunks.size(); ++i) {
    Chunk& chunk = put.chunks[i];
    if (chunk.state == ChunkState::kFailed || !HasAllParts(chunk)) continue;
    for (std::size_t number = 0; number < chunk.parts.size(); ++number) {
      for (Replica& replica : chunk.parts[number].replicas) {
        if (replica.state != ReplicaState::kAcked) continue;
        if (!membership_.IsAlive(replica.node)) {
          replica.state = ReplicaState::kFailed;
          continue;
        }
        replica.state = ReplicaState::kSent;
        const NodeState& node = *membership_.Find(replica.node);
        const std::uint32_t shard = ShardOfKey(
            put.ticket.keys[i], static_cast<std::uint32_t>(node.description.shards.size()));
        by_shard[{replica.node, shard}].push_back({i, number});
      }
    }
  }
  for (const auto& [at, objects] : by_shard) {
    SendCommit(put, {put.ticket.put_id, at.first, at.second, {}}, objects, actions);
  }
  for (std::size_t i = 0; i < put.chunks.size(); ++i) Settle(put, i);
}

void Puts::SendCommit(const Put& put, const SentCommit& to, const std::vector<SentObject>& objects,
                      Actions& actions) {
  SentCommit call = to;
  std::uint64_t call_bytes = 0;
  for (const SentObject& object : objects) {
    const std::uint64_t bytes =
        SumOfLevels(put.chunks[object.chunk].parts[object.part].level_bytes, kAllLevels);
    const bool full = call_bytes + bytes > kCommitBytesPerCall ||
                      call.objects.size() >= wire::kObjectsPerRequestMax;
    if (full && !call.objects.empty()) {
      Ask(put, std::exchange(call, to), actions);
      call_bytes = 0;
    }
    call.objects.push_back(object);
    call_bytes += bytes;
  }
  Ask(put, std::move(call), actions);
}

void Puts::Ask(const Put& put, SentCommit commit, Actions& actions) {
  ++commit.asked;
  wire::CommitObjectsRequest request;
  request.head.trace = put.trace;
  request.epoch = epoch_;
  for (const SentObject& object : commit.objects) {
    request.objects.push_back({.name = {put.ticket.tenant, put.ticket.keys[object.chunk],
                                        static_cast<std::uint16_t>(object.part), put.ticket.put_id},
                               .digest = put.chunks[object.chunk].parts[object.part].digest});
  }
  const auto id = static_cast<NodeCallId>(next_call_++);
  actions.calls.push_back(
      {.id = id,
       .node = commit.node,
       .shard = commit.shard,
       .endpoint = membership_.Find(commit.node)->description.shards[commit.shard],
       .request = std::move(request)});
  sent_.emplace(id, std::move(commit));
}

bool Puts::OnNodeAnswer(NodeCallId call, Code code, const wire::ObjectCodesResponse& codes,
                        Actions& actions) {
  const auto at = sent_.find(call);
  if (at == sent_.end()) return false;
  SentCommit sent = std::move(at->second);
  sent_.erase(at);
  const auto open = puts_.find(sent.put);
  if (open == puts_.end()) return true;
  Put& put = open->second;
  if (code == Code::kDeadlineExceeded && sent.asked < kAskedMax && HasShard(sent)) {
    Ask(put, std::move(sent), actions);
    return true;
  }
  const bool whole = code == Code::kOk && codes.objects.size() == sent.objects.size();
  for (std::size_t i = 0; i < sent.objects.size(); ++i) {
    const Code said = whole ? codes.objects[i].code : Code::kUnavailable;
    OnReplica(put, sent.objects[i], sent.node, said, whole ? codes.objects[i].on_disk : LevelSet());
  }
  for (const SentObject& object : sent.objects) Settle(put, object.chunk);
  AnswerWaiting(put, actions);
  FlushDrops(actions);
  return true;
}

// Whether the node may still answer: it is alive, and has not come back with fewer shards.
bool Puts::HasShard(const SentCommit& commit) const {
  return membership_.IsAlive(commit.node) &&
         commit.shard < membership_.Find(commit.node)->description.shards.size();
}

void Puts::OnGone(NodeId node, const wire::ObjectName& object) {
  const auto open = puts_.find(object.put_id);
  if (open == puts_.end() || open->second.ticket.tenant != object.tenant) return;
  const std::size_t chunk = IndexOf(open->second.ticket, object.key);
  if (chunk == kNoChunk || object.part >= open->second.ticket.part_count) return;
  for (Replica& replica : open->second.chunks[chunk].parts[object.part].replicas) {
    if (replica.node == node && replica.state == ReplicaState::kSent) replica.gone = true;
  }
}

void Puts::OnReplica(Put& put, const SentObject& object, NodeId node, Code code, LevelSet on_disk) {
  Chunk& chunk = put.chunks[object.chunk];
  Part& part = chunk.parts[object.part];
  const auto replica = std::ranges::find(part.replicas, node, &Replica::node);
  if (replica == part.replicas.end()) return;
  const bool has = code == Code::kOk && !replica->gone;
  replica->state = has ? ReplicaState::kConfirmed : ReplicaState::kFailed;
  replica->on_disk = on_disk;
  replica->no_room = code == Code::kResourceExhausted;
  if (!has) return;
  // The object was just written, so it is in memory; the node's next report corrects this.
  directory_.Apply(node,
                   {.tenant = put.ticket.tenant,
                    .key = put.ticket.keys[object.chunk],
                    .parent = chunk.parent,
                    .chain_root = put.chain_root,
                    .model = put.ticket.model,
                    .put_id = put.ticket.put_id,
                    .match_hash = {},
                    .shape = part.shape,
                    .token_count = chunk.token_count,
                    .provenance = put.provenance,
                    .level_bytes = part.level_bytes,
                    .in_dram = LevelsWithBytes(part.level_bytes),
                    .on_disk = on_disk},
                   Directory::Source::kAnswer);
}

// Decides whether a chunk has become visible, or cannot become so any more.
void Puts::Settle(Put& put, std::size_t index) {
  Chunk& chunk = put.chunks[index];
  if (chunk.state != ChunkState::kOpen || !HasAllParts(chunk)) return;
  if (IsConfirmed(chunk)) {
    chunk.state = ChunkState::kVisible;
    ++counts_.committed;
    busy_.erase({put.ticket.tenant, put.ticket.keys[index]});
    DropWorse(put, index);
  } else if (!IsOut(chunk)) {
    chunk.state = ChunkState::kFailed;
    ++counts_.failed;
    busy_.erase({put.ticket.tenant, put.ticket.keys[index]});
    DropChunk(put, index);
  }
}

void Puts::AnswerWaiting(Put& put, Actions& actions) {
  std::erase_if(put.waiting, [&](const WaitingReply& waiting) {
    for (const std::size_t chunk : waiting.chunks) {
      if (chunk != kNoChunk && IsOut(put.chunks[chunk])) return false;
    }
    wire::PutCommitResponse response;
    for (const std::size_t chunk : waiting.chunks) {
      response.objects.push_back(chunk == kNoChunk ? wire::PutCommitResponse::Object{}
                                                   : StateOf(put.chunks[chunk]));
      if (!waiting.wants_codes) response.objects.back().code = Code::kOk;
    }
    actions.answers.push_back({waiting.reply, std::move(response)});
    return true;
  });
}

wire::PutCommitResponse::Object Puts::StateOf(const Chunk& chunk) const {
  if (chunk.state == ChunkState::kFailed) {
    const bool no_room = std::ranges::any_of(chunk.parts, [](const Part& part) {
      return std::ranges::any_of(part.replicas, &Replica::no_room);
    });
    return {.code = no_room ? Code::kResourceExhausted : Code::kUnavailable};
  }
  if (chunk.state == ChunkState::kOpen) return {wire::CommitState::kPending, 0, 0};
  std::size_t replicas = limits::kReplicasMax;
  std::size_t on_disk = limits::kReplicasMax;
  for (const Part& part : chunk.parts) {
    const LevelSet levels = LevelsWithBytes(part.level_bytes);
    std::size_t confirmed = 0;
    std::size_t durable = 0;
    for (const Replica& replica : part.replicas) {
      if (replica.state != ReplicaState::kConfirmed) continue;
      ++confirmed;
      if ((replica.on_disk & levels) == levels) ++durable;
    }
    replicas = std::min(replicas, confirmed);
    on_disk = std::min(on_disk, durable);
  }
  return {wire::CommitState::kVisible, static_cast<std::uint8_t>(replicas),
          static_cast<std::uint8_t>(on_disk)};
}

// --- Taking back ---

// Of two objects with one key the one of better provenance stays; of two equally good ones the
// newer.
void Puts::DropWorse(const Put& put, std::size_t index) {
  const TenantId tenant = put.ticket.tenant;
  const ChunkKey& key = put.ticket.keys[index];
  const std::uint32_t rank = ProvenanceRank(put.provenance);
  std::vector<StoredReplica> others;
  bool better = false;
  directory_.Visit(tenant, key, [&](const StoredReplica& replica) {
    if (replica.name.put_id == put.ticket.put_id) return;
    if (ProvenanceRank(replica.provenance) > rank) {
      better = better || directory_.IsComplete(tenant, key, replica.name.put_id);
    } else {
      others.push_back(replica);
    }
  });
  for (const StoredReplica& replica : others) {
    Drop(replica.at.node, replica.name);
    directory_.Remove(replica.at.node, replica.name);
  }
  if (better) DropChunk(put, index);
}

void Puts::DropChunk(const Put& put, std::size_t index) {
  const Chunk& chunk = put.chunks[index];
  for (const NodeId node : put.ticket.nodes) {
    for (std::size_t number = 0; number < chunk.parts.size(); ++number) {
      const wire::ObjectName object{put.ticket.tenant, put.ticket.keys[index],
                                    static_cast<std::uint16_t>(number), put.ticket.put_id};
      Drop(node, object);
      directory_.Remove(node, object);
    }
  }
}

void Puts::Drop(NodeId node, const wire::ObjectName& object) {
  if (membership_.IsAlive(node)) drops_[node].push_back(object);
}

void Puts::FlushDrops(Actions& actions) {
  for (const auto& [node, objects] : drops_) {
    const std::vector<std::string>& shards = membership_.Find(node)->description.shards;
    std::map<std::uint32_t, std::vector<wire::DropObjectsRequest>> by_shard;
    for (const wire::ObjectName& object : objects) {
      auto& requests = by_shard[ShardOfKey(object.key, static_cast<std::uint32_t>(shards.size()))];
      if (requests.empty() || requests.back().objects.size() >= wire::kObjectsPerRequestMax) {
        requests.emplace_back().epoch = epoch_;
      }
      requests.back().objects.push_back({object, kAllLevels});
    }
    for (auto& [shard, requests] : by_shard) {
      for (wire::DropObjectsRequest& request : requests) {
        actions.calls.push_back({.id = {},
                                 .node = node,
                                 .shard = shard,
                                 .endpoint = shards[shard],
                                 .request = std::move(request)});
      }
    }
  }
  drops_.clear();
}

Status Puts::Abort(TenantId tenant, const wire::PutAbortRequest& request, Actions& actions) {
  const Result<wire::Ticket> ticket = wire::OpenTicket(request.ticket, cluster_key_);
  if (!ticket || ticket->tenant != tenant) {
    return Status(Code::kPermissionDenied, "not a ticket of this tenant");
  }
  const auto open = puts_.find(ticket->put_id);
  if (open == puts_.end()) return Status();
  Put& put = open->second;
  for (std::size_t i = 0; i < put.chunks.size(); ++i) {
    Chunk& chunk = put.chunks[i];
    if (chunk.state != ChunkState::kOpen || IsOut(chunk)) continue;
    chunk.state = ChunkState::kFailed;
    busy_.erase({tenant, put.ticket.keys[i]});
    DropChunk(put, i);
  }
  FlushDrops(actions);
  return Status();
}

void Puts::Tick(TimePoint now, Actions& actions) {
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    const PutId id = by_expiry_.begin()->second;
    by_expiry_.erase(by_expiry_.begin());
    Put& put = puts_.at(id);
    // Nodes' answers are on their way: every call has a deadline.
    if (std::ranges::any_of(put.chunks, IsOut)) put.expires = now + kGraceOfCommits;
    if (put.expires > now) {
      by_expiry_.emplace(put.expires, id);
      continue;
    }
    bool abandoned = false;
    for (std::size_t i = 0; i < put.chunks.size(); ++i) {
      if (put.chunks[i].state != ChunkState::kOpen) continue;
      abandoned = true;
      busy_.erase({put.ticket.tenant, put.ticket.keys[i]});
      DropChunk(put, i);
    }
    if (abandoned) ++counts_.expired;
    --open_of_tenant_[put.ticket.tenant];
    puts_.erase(id);
  }
  FlushDrops(actions);
}

}  // namespace kdn::coordinator
