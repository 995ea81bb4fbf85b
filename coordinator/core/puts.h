// Puts under way, from the ticket to the last replica's commit. Knows which nodes acknowledged
// which part of which chunk, tells the nodes to make a chunk visible once all its parts are in, and
// takes back what was abandoned.
//
//   PutStart:          a put per run of at most 32 chunks: an id, nodes, a ticket
//
//   PutCommit:         notes parts; after a chunk's last part CommitObjects goes to every node
//                      that has one, a few MiB a call: a node answers a call once its disk has
//                      all of it
//
//   a node's answer:   the directory learns of the replica; the writer is answered when no answer
//                      is out. No answer in time says nothing, so the node is asked again: it may
//                      have much to write before
//
//   PutAbort, expiry:  DropObjects for what is not visible
//
// A put is kept until it expires, so that a repeated call gets the same answer. After a restart of
// the coordinator tickets of earlier epochs are worth nothing; writers start over.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/random.h"
#include "coordinator/core/actions.h"
#include "coordinator/core/directory.h"
#include "coordinator/core/membership.h"
#include "coordinator/placement/placement.h"
#include "proto/wire/put.h"
#include "proto/wire/ticket.h"

namespace kdn::coordinator {

struct PutOptions {
  std::uint32_t replicas = 2;
  std::chrono::milliseconds expiry{9000};
  std::size_t puts_open_max = 1U << 16;
  std::size_t puts_open_per_tenant_max = 1U << 14;  // so that one cannot refuse all others
};

struct PutCounts {
  std::uint64_t started = 0;    // tickets
  std::uint64_t committed = 0;  // chunks made visible
  std::uint64_t failed = 0;     // chunks that no replica could commit
  std::uint64_t expired = 0;    // puts with a chunk that was abandoned
  std::uint64_t refused = 0;    // chunks for which there was no room or no node
};

class Puts {
 public:
  // All outlive this object.
  Puts(const PutOptions& options, Epoch epoch, std::vector<std::byte> cluster_secret,
       std::unique_ptr<PlacementPolicy> placement, Random& random, Directory& directory,
       Membership& membership);

  [[nodiscard]] wire::PutStartResponse Start(TenantId tenant, const wire::PutStartRequest& request,
                                             TimePoint now);
  // Answers `reply`, now or once the nodes have answered: kPermissionDenied for a ticket that is
  // not this tenant's, kAborted for one that is of an earlier epoch, expired or aborted.
  void Commit(TenantId tenant, const wire::PutCommitRequest& request, ReplyId reply, TimePoint now,
              Actions& actions);
  // Takes back what is neither visible nor being made visible.
  Status Abort(TenantId tenant, const wire::PutAbortRequest& request, Actions& actions);

  // What a node answered to a CommitObjects. `codes` has one per object, or `call` is not kOk.
  // False if the call was none of this object's.
  bool OnNodeAnswer(NodeCallId call, Code code, const wire::ObjectCodesResponse& codes,
                    Actions& actions);
  // The node says that it has the object no more. Its answer to the commit may come later, since
  // the two take different ways.
  void OnGone(NodeId node, const wire::ObjectName& object);
  void Tick(TimePoint now, Actions& actions);

  [[nodiscard]] const PutCounts& counts() const { return counts_; }
  [[nodiscard]] std::size_t open_count() const { return puts_.size(); }

 private:
  enum class ReplicaState : std::uint8_t { kAcked, kSent, kConfirmed, kFailed };
  enum class ChunkState : std::uint8_t { kOpen, kVisible, kFailed };

  struct Replica {
    NodeId node{};
    ReplicaState state = ReplicaState::kAcked;
    bool gone = false;  // before its commit was answered
    bool no_room = false;
    LevelSet on_disk;
  };
  struct Part {
    bool known = false;  // a commit named it; the fields below hold
    PartShape shape;
    LevelBytes level_bytes{};
    ObjectDigest digest;
    std::vector<Replica> replicas;
  };
  struct Chunk {
    ChunkKey parent;
    std::uint32_t token_count = 0;
    ChunkState state = ChunkState::kOpen;
    std::vector<Part> parts;
  };
  // A PutCommit that waits until none of its chunks has a commit out.
  struct WaitingReply {
    ReplyId reply{};
    bool wants_codes = false;
    std::vector<std::size_t> chunks;  // per object of the request; kNoChunk: failed already
  };
  struct Put {
    wire::Ticket ticket;
    wire::Buffer sealed;
    std::uint8_t replicas = 0;  // wanted
    TraceId trace;              // of the PutStart, by which a repeated one is known
    Provenance provenance;
    ChunkKey chain_root;
    TimePoint expires;
    std::vector<Chunk> chunks;  // one per key of the ticket
    std::vector<WaitingReply> waiting;
  };
  struct SentObject {
    std::size_t chunk = 0;
    std::size_t part = 0;
  };
  struct SentCommit {
    PutId put;
    NodeId node{};
    std::uint32_t shard = 0;
    std::vector<SentObject> objects;
    int asked = 0;  // how often
  };
  struct BusyKey {
    TenantId tenant{};
    ChunkKey key;
    friend bool operator==(const BusyKey&, const BusyKey&) = default;
  };
  struct BusyKeyHash {
    std::size_t operator()(const BusyKey& key) const {
      return IdHash{}(key.key) ^ static_cast<std::size_t>(key.tenant);
    }
  };
  class Starter;  // one Start() call

  [[nodiscard]] bool WasCommitted(TenantId tenant, const wire::Ticket& ticket,
                                  const wire::PutCommitRequest& request,
                                  wire::PutCommitResponse& response) const;
  [[nodiscard]] bool NotePart(Put& put, Chunk& chunk, const wire::PutCommitRequest::Object& object);
  void SendCommits(Put& put, Actions& actions);
  void SendCommit(const Put& put, const SentCommit& to, const std::vector<SentObject>& objects,
                  Actions& actions);
  void Ask(const Put& put, SentCommit commit, Actions& actions);
  void OnReplica(Put& put, const SentObject& object, NodeId node, Code code, LevelSet on_disk);
  void Settle(Put& put, std::size_t chunk);
  void AnswerWaiting(Put& put, Actions& actions);
  [[nodiscard]] wire::PutCommitResponse::Object StateOf(const Chunk& chunk) const;
  void DropWorse(const Put& put, std::size_t chunk);
  void DropChunk(const Put& put, std::size_t chunk);
  void Drop(NodeId node, const wire::ObjectName& object);
  void FlushDrops(Actions& actions);

  [[nodiscard]] bool HasShard(const SentCommit& commit) const;
  [[nodiscard]] static bool HasAllParts(const Chunk& chunk);
  [[nodiscard]] static bool LeavesNoGap(const Chunk& chunk);
  [[nodiscard]] static bool IsOut(const Chunk& chunk);  // a commit is sent and not answered
  [[nodiscard]] static bool IsConfirmed(const Chunk& chunk);

  PutOptions options_;
  Epoch epoch_;
  HmacKey cluster_key_;
  std::unique_ptr<PlacementPolicy> placement_;
  Random& random_;
  Directory& directory_;
  Membership& membership_;
  std::unordered_map<PutId, Put, IdHash> puts_;
  std::set<std::pair<TimePoint, PutId>> by_expiry_;  // a commit may have put it off since
  std::map<TenantId, std::size_t> open_of_tenant_;
  std::unordered_map<BusyKey, PutId, BusyKeyHash> busy_;  // chunks of open puts, not visible yet
  std::map<NodeCallId, SentCommit> sent_;
  std::map<NodeId, std::vector<wire::ObjectName>> drops_;  // gathered during one call
  std::uint64_t next_call_ = 1;
  PutCounts counts_;
};

}  // namespace kdn::coordinator
