// A store under way: one part of every chunk that the plan says is missing.
//
// Steps (docs/protocol.md, Store):
//   1. Each object takes staging memory and is encoded into it; then the engine's blocks are free.
//   2. Its pieces go to the first node of its grant, which forwards them. Replicas that this does
//      not reach are sent to directly.
//      A node that has failed every piece for as long as the client's timeout is not asked again,
//      nor one that answers nothing, and what only such nodes could take is not encoded. What such
//      a one was sent before is taken back: its memory is wanted. One that has asked not to be
//      asked is come back to, for as long as the client's timeout.
//   3. When all objects of a grant are acknowledged or given up, the coordinator is told.
//   4. When all grants are, the context is named.
//
// Thread-safety: the handle's part is safe; the rest is owned by the I/O loop.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "client/core/client_context.h"
#include "client/core/kv_copy.h"
#include "client/core/memory_gate.h"
#include "client/core/model.h"
#include "client/core/store_plan.h"

namespace kdn::client {

class StoreOp final : public std::enable_shared_from_this<StoreOp> {
 public:
  // `shape` is whole: number, count, layers and heads are set.
  StoreOp(std::shared_ptr<ClientContext> context, const Model& model, const StorePlan& plan,
          const PartShape& shape, std::unique_ptr<const KvCopy> kv);

  void Start();
  void Cancel();

  // The handle's part.
  [[nodiscard]] bool Done();
  Status WaitRead();
  StoreReport Wait();

 private:
  struct Object {
    std::size_t chunk = 0;
    ObjectHeader header;
    MutableBytes staging;  // as taken; the object lies at its front
    std::size_t size_bytes = 0;
    std::size_t hop = 0;  // index into the grant's nodes that is being sent to
    TimePoint sent_at{};  // to that node
    std::size_t pieces_out = 0;
    std::vector<CallId> pieces;  // to that node, answered ones too
    bool over = false;
    bool asked = false;         // somebody has been sent it
    bool costs_retry = false;   // sending it again draws on the retry budget
    bool pressed = false;       // a piece was refused with a time to come back
    bool no_room = false;       // a node had no room for it
    TimePoint pressed_since{};  // at that node
    std::vector<wire::ReplicaAck> acks;
  };
  struct Grant {
    std::size_t objects_open = 0;
    std::vector<std::size_t> objects;
  };

  // 1.
  void MakeObjects();
  [[nodiscard]] ObjectHeader HeaderOf(std::size_t chunk, std::uint64_t first_token) const;
  void Pump();
  void Encode(std::size_t object, codec::CodecScratch& scratch);
  void OnEncoded(std::size_t object, Status status, std::size_t size_bytes);
  // 2.
  [[nodiscard]] bool GivenUp(NodeId node) const;
  // It is of no use to send there.
  [[nodiscard]] bool OutOfReach(NodeId node, const ChunkKey& key) const;
  [[nodiscard]] bool NobodyLeft(const wire::PutGrant& grant, const ChunkKey& key) const;
  void CancelPieces(NodeId node);
  [[nodiscard]] Duration SilenceMax() const;
  void WatchSilence(TimePoint when);
  void CheckSilence();
  void Send(std::size_t object);
  // True if the object has to wait for its node, and will be sent when it may.
  [[nodiscard]] bool WaitsForPressure(std::size_t object);
  void SendPiece(std::size_t object, std::uint64_t offset, std::size_t size_bytes);
  void OnPieceSent(std::size_t object, Code code, ConstBytes response);
  void EndObject(std::size_t object);
  // 3.
  void Commit(std::size_t grant);
  void SendCommit(std::size_t grant, std::vector<std::size_t> objects);
  void OnCommitted(const std::vector<std::size_t>& objects, Code code, ConstBytes response);
  // A chunk is not stored, and why.
  void NoteFailed(bool no_room);
  void Abort(std::size_t grant);
  // 4.
  [[nodiscard]] bool TakesProfile() const;
  void NameContext();
  void Close(Code code);
  void Finish();

  [[nodiscard]] CallTarget TargetOf(const wire::PutGrant& grant, const Object& object) const;
  [[nodiscard]] TimePoint CallDeadline() const;

  const std::shared_ptr<ClientContext> context_;
  const Model& model_;
  const StorePlan::State plan_;
  const PartShape shape_;
  const std::unique_ptr<const KvCopy> kv_;
  const TimePoint begun_;
  const TimePoint deadline_;
  MemoryGate gate_;
  TraceId trace_;

  // Of the I/O loop.
  std::vector<Object> objects_;
  std::vector<Grant> grants_;
  std::vector<CallId> calls_;                      // of pieces and commits under way or over
  std::map<NodeId, TimePoint> failing_since_;      // of nodes that have taken nothing since
  TimePoint silence_check_at_ = TimePoint::max();  // when CheckSilence() runs next
  bool pumping_ = false;
  std::size_t next_object_ = 0;
  std::size_t objects_in_flight_ = 0;
  std::size_t objects_to_encode_ = 0;
  std::size_t grants_open_ = 0;
  std::vector<bool> chunk_stored_;  // visible, pending or present
  bool last_chunk_visible_ = false;
  bool no_room_ = false;                      // why a chunk was not stored
  std::vector<std::size_t> without_profile_;  // lossy chunks, visible
  bool closed_ = false;
  Code code_ = Code::kOk;
  StoreReport report_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool read_ = false;   // guarded by mutex_
  bool done_ = false;   // guarded by mutex_
  StoreReport result_;  // guarded by mutex_
};

}  // namespace kdn::client
