// The first phase: which chunks are to be stored, on which nodes, under which tickets.
#include <algorithm>
#include <map>

#include "base/limits.h"
#include "coordinator/core/puts.h"

namespace kdn::coordinator {
namespace {

std::uint64_t Milliseconds(TimePoint time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

// One key in 32 begins a new run: chunks that come one by one then lie in runs of about as many as
// chunks that come all at once.
bool BeginsRun(const ChunkKey& key) {
  return IdHash{}(key) % wire::kChunksPerTicketMax == 0;
}

}  // namespace

class Puts::Starter {
 public:
  Starter(Puts& puts, TenantId tenant, const wire::PutStartRequest& request, TimePoint now)
      : puts_(puts), tenant_(tenant), request_(request), now_(now) {}

  wire::PutStartResponse Run() {
    for (const wire::PutStartRequest::Chunk& chunk : request_.chunks) {
      if (chunk.parent.IsZero()) chain_root_ = chunk.key;
      Judge(chunk);
    }
    Seal();
    if (puts_.membership_.map().version != request_.known_map_version) {
      response_.map = puts_.membership_.map();
    } else {
      response_.map.version = request_.known_map_version;
    }
    return std::move(response_);
  }

 private:
  void Judge(const wire::PutStartRequest::Chunk& chunk) {
    const auto busy = puts_.busy_.find({tenant_, chunk.key});
    if (busy != puts_.busy_.end()) {
      const bool repeated = !request_.head.trace.IsZero() &&
                            puts_.puts_.at(busy->second).trace == request_.head.trace;
      return repeated ? Grant(busy->second) : Say(wire::PutVerdict::kBusy);
    }
    wire::ChunkLocation present;
    if (puts_.directory_.Find({.tenant = tenant_}, chunk.key, present) &&
        ProvenanceRank(present.provenance) >= ProvenanceRank(request_.provenance)) {
      return Say(wire::PutVerdict::kPresent);
    }
    Put* put = PutFor(chunk);
    if (put == nullptr) {
      ++puts_.counts_.refused;
      return Say(wire::PutVerdict::kRefused);
    }
    put->ticket.keys.push_back(chunk.key);
    put->ticket.object_bytes_max = std::max(put->ticket.object_bytes_max, chunk.object_bytes_max);
    put->chunks.push_back({.parent = chunk.parent,
                           .token_count = chunk.token_count,
                           .parts = std::vector<Part>(request_.part_count)});
    puts_.busy_.emplace(BusyKey{tenant_, chunk.key}, put->ticket.put_id);
    for (const NodeId node : put->ticket.nodes) {
      puts_.membership_.NotePlaced(node, chunk.object_bytes_max * request_.part_count);
    }
    Grant(put->ticket.put_id);
  }

  // The put that this chunk joins; nullptr if there can be none.
  Put* PutFor(const wire::PutStartRequest::Chunk& chunk) {
    if (chunk.object_bytes_max > limits::kObjectBytesMax) return nullptr;
    if (open_ != nullptr && open_->ticket.keys.size() < wire::kChunksPerTicketMax) return open_;
    if (puts_.puts_.size() >= puts_.options_.puts_open_max ||
        puts_.open_of_tenant_[tenant_] >= puts_.options_.puts_open_per_tenant_max) {
      return nullptr;
    }
    Seal();
    const std::vector<NodeId> near = NodesNear(chunk);
    const std::uint32_t replicas = std::min<std::uint32_t>(
        request_.replicas != 0 ? request_.replicas : puts_.options_.replicas, limits::kReplicasMax);
    std::vector<NodeId> nodes =
        puts_.placement_->Place({.first = chunk.key, .near = near, .replicas = replicas},
                                puts_.membership_.ForPlacement(now_));
    if (nodes.empty()) return nullptr;
    ++puts_.open_of_tenant_[tenant_];
    const PutId id = MakePutId(puts_.epoch_, puts_.random_);
    const TimePoint expires = now_ + puts_.options_.expiry;
    open_ = &puts_.puts_[id];
    open_->ticket = {.epoch = puts_.epoch_,
                     .tenant = tenant_,
                     .put_id = id,
                     .model = request_.model,
                     .part_count = request_.part_count,
                     .object_bytes_max = 0,
                     .expires_ms = Milliseconds(expires),
                     .nodes = std::move(nodes),
                     .keys = {}};
    open_->replicas = static_cast<std::uint8_t>(replicas);
    open_->trace = request_.head.trace;
    open_->provenance = request_.provenance;
    open_->chain_root = chain_root_;
    open_->expires = expires;
    puts_.by_expiry_.emplace(expires, id);
    ++puts_.counts_.started;
    return open_;
  }

  // Where the chunk before is, if this one belongs to its run.
  std::vector<NodeId> NodesNear(const wire::PutStartRequest::Chunk& chunk) const {
    std::vector<NodeId> near;
    wire::ChunkLocation parent;
    if (chunk.parent.IsZero() || BeginsRun(chunk.key) || open_ != nullptr) return near;
    if (!puts_.directory_.Find({.tenant = tenant_}, chunk.parent, parent)) return near;
    for (const wire::ReplicaLocation& replica : parent.parts[0].replicas) {
      near.push_back(replica.node);
    }
    return near;
  }

  void Seal() {
    if (open_ == nullptr || !open_->sealed.empty()) return;
    open_->sealed = wire::SealTicket(open_->ticket, puts_.cluster_key_);
    response_.grants[grant_of_.at(open_->ticket.put_id)].ticket = open_->sealed;
  }

  void Say(wire::PutVerdict verdict) {
    response_.verdicts.push_back(verdict);
    response_.grant_of.push_back(wire::kNoGrant);
  }

  void Grant(const PutId& id) {
    const auto next = static_cast<std::uint16_t>(response_.grants.size());
    const auto [at, is_new] = grant_of_.emplace(id, next);
    if (is_new) {
      const Put& put = puts_.puts_.at(id);
      response_.grants.push_back({id, put.ticket.nodes, put.sealed, put.replicas});
    }
    response_.verdicts.push_back(wire::PutVerdict::kStore);
    response_.grant_of.push_back(at->second);
  }

  Puts& puts_;
  TenantId tenant_;
  const wire::PutStartRequest& request_;
  TimePoint now_;
  ChunkKey chain_root_;
  Put* open_ = nullptr;  // takes chunks until it has as many as a ticket may
  wire::PutStartResponse response_;
  std::map<PutId, std::uint16_t> grant_of_;
};

wire::PutStartResponse Puts::Start(TenantId tenant, const wire::PutStartRequest& request,
                                   TimePoint now) {
  return Starter(*this, tenant, request, now).Run();
}

}  // namespace kdn::coordinator
