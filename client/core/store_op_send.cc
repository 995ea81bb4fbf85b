// How a store sends objects, commits them, and names the context.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/limits.h"
#include "client/core/profiles.h"
#include "client/core/store_op.h"
#include "proto/wire/context.h"

namespace kdn::client {
namespace {

// What pieces are about as large as: small enough that a replica forwards one while the next
// arrives.
constexpr std::size_t kPieceBytes = 1 * limits::kMiB;
constexpr std::size_t kPieceAlignment = 4 * limits::kKiB;
// A commit is answered once the nodes' disks have its bytes: slow ones still do this, several nodes
// to a disk.
constexpr std::size_t kCommitBytesPerMs = 16'000;
// Of the client's timeout: how long not a byte has come from a node whose breaker is open before
// what it was sent is taken back. A put's answer comes late over a slow link, and behind a slow
// disk: the breaker alone says too little.
constexpr Duration::rep kSilenceShare = 4;

}  // namespace

TimePoint StoreOp::CallDeadline() const {
  return std::min(deadline_, context_->loop->Now() + context_->options.timeout);
}

CallTarget StoreOp::TargetOf(const wire::PutGrant& grant, const Object& object) const {
  const NodeId node = grant.nodes[object.hop];
  return {node, context_->nodes.EndpointOf(node, object.header.key, plan_.nodes)};
}

// -- 2. Sending --------------------------------------------------------------------------------

bool StoreOp::GivenUp(NodeId node) const {
  const auto failing = failing_since_.find(node);
  return failing != failing_since_.end() &&
         context_->loop->Now() - failing->second >= context_->options.timeout;
}

bool StoreOp::OutOfReach(NodeId node, const ChunkKey& key) const {
  if (GivenUp(node)) return true;
  const CallTarget target{node, context_->nodes.EndpointOf(node, key, plan_.nodes)};
  return context_->health->StandingOf(target, wire::Priority::kPut) == Standing::kSilent;
}

bool StoreOp::NobodyLeft(const wire::PutGrant& grant, const ChunkKey& key) const {
  return std::all_of(grant.nodes.begin(), grant.nodes.end(),
                     [&](NodeId node) { return OutOfReach(node, key); });
}

// To the next node of the grant that does not have the object and may take it.
void StoreOp::Send(std::size_t index) {
  Object& object = objects_[index];
  const wire::PutGrant& grant = plan_.grants[plan_.chunks[object.chunk].grant];
  const auto has = [&](NodeId node) {
    return std::any_of(object.acks.begin(), object.acks.end(),
                       [&](const auto& ack) { return ack.node == node; });
  };
  while (object.hop < grant.nodes.size() &&
         (has(grant.nodes[object.hop]) || OutOfReach(grant.nodes[object.hop], object.header.key))) {
    ++object.hop;
  }
  const bool somebody = !closed_ && object.hop < grant.nodes.size();
  if (somebody && WaitsForPressure(index)) return;
  if (!somebody || (object.costs_retry && !context_->health->TakeRetry())) {
    EndObject(index);
    return;
  }
  if (!object.asked) context_->health->OnRequest();
  object.asked = true;
  object.costs_retry = false;
  object.sent_at = context_->loop->Now();
  // All alike: a header's worth beyond the size would be a piece that costs as much as any other.
  const std::size_t wanted =
      std::max<std::size_t>(1, (object.size_bytes + kPieceBytes / 2) / kPieceBytes);
  const std::size_t piece = (object.size_bytes / wanted / kPieceAlignment + 1) * kPieceAlignment;
  object.pieces_out = (object.size_bytes + piece - 1) / piece;
  object.pieces.clear();
  for (std::size_t offset = 0; offset < object.size_bytes; offset += piece) {
    SendPiece(index, offset, std::min(piece, object.size_bytes - offset));
  }
  WatchSilence(object.sent_at + SilenceMax());
}

bool StoreOp::WaitsForPressure(std::size_t index) {
  Object& object = objects_[index];
  const wire::PutGrant& grant = plan_.grants[plan_.chunks[object.chunk].grant];
  const CallTarget target = TargetOf(grant, object);
  if (context_->health->StandingOf(target, wire::Priority::kPut) != Standing::kPressed) {
    return false;
  }
  const TimePoint now = context_->loop->Now();
  if (object.pressed_since == TimePoint{}) object.pressed_since = now;
  const TimePoint until = context_->health->PressedUntil(target.node, wire::Priority::kPut);
  if (until - object.pressed_since >= context_->options.timeout || until >= deadline_) {
    ++object.hop;
    object.pressed_since = {};
    Send(index);
    return true;
  }
  context_->loop->At(until, [weak = weak_from_this(), index] {
    const auto op = weak.lock();
    if (op && !op->objects_[index].over) op->Send(index);
  });
  return true;
}

void StoreOp::SendPiece(std::size_t index, std::uint64_t offset, std::size_t size_bytes) {
  Object& object = objects_[index];
  const wire::PutGrant& grant = plan_.grants[plan_.chunks[object.chunk].grant];
  wire::PutPieceRequest request;
  request.head.trace = trace_;
  request.ticket = grant.ticket;
  request.key = object.header.key;
  request.part = shape_.number;
  request.hop = static_cast<std::uint8_t>(object.hop);
  request.object_bytes = object.size_bytes;
  request.offset = offset;
  request.size_bytes = static_cast<std::uint32_t>(size_bytes);
  CallRequest call;
  call.target = TargetOf(grant, object);
  request.Encode(call.request);
  call.insist = true;  // every replica of a grant is wanted, also one that came back just now
  call.send_bulk = {object.staging.subspan(offset, size_bytes)};
  call.deadline = CallDeadline();
  call.done = [self = shared_from_this(), index, size_bytes](Code code, ConstBytes response) {
    if (code == Code::kOk) {
      self->report_.bytes_sent += size_bytes;
      self->context_->metrics.bytes_sent.Add(size_bytes);
    }
    self->OnPieceSent(index, code, response);
  };
  object.pieces.push_back(context_->loop->calls().Start(std::move(call)));
  calls_.push_back(object.pieces.back());
}

// What was sent to a node just before it was given up would wait for it all over again.
void StoreOp::CancelPieces(NodeId node) {
  for (const Object& object : objects_) {
    if (object.pieces_out == 0) continue;
    if (plan_.grants[plan_.chunks[object.chunk].grant].nodes[object.hop] != node) continue;
    for (const CallId piece : object.pieces) context_->loop->calls().Cancel(piece);
  }
}

Duration StoreOp::SilenceMax() const {
  return Duration(context_->options.timeout) / kSilenceShare;
}

// One timer for the whole store, set for the first node that may have been silent for too long.
void StoreOp::WatchSilence(TimePoint when) {
  if (when >= silence_check_at_) return;
  silence_check_at_ = when;
  context_->loop->At(when, [weak = weak_from_this(), when] {
    const auto op = weak.lock();
    if (op && op->silence_check_at_ == when) op->CheckSilence();
  });
}

// What a silent node was sent holds memory that others wait for, and has other nodes to go to.
void StoreOp::CheckSilence() {
  silence_check_at_ = TimePoint::max();
  if (closed_) return;
  const TimePoint now = context_->loop->Now();
  TimePoint next = TimePoint::max();
  for (const Object& object : objects_) {
    if (object.pieces_out == 0) continue;
    const CallTarget target = TargetOf(plan_.grants[plan_.chunks[object.chunk].grant], object);
    const TimePoint due =
        std::max(object.sent_at, context_->loop->calls().LastHeard(target)) + SilenceMax();
    if (now >= due && OutOfReach(target.node, object.header.key)) {
      for (const CallId piece : object.pieces) context_->loop->calls().Cancel(piece);
    } else {
      next = std::min(next, std::max(due, now + SilenceMax() / kSilenceShare));
    }
  }
  if (next != TimePoint::max()) WatchSilence(next);
}

void StoreOp::OnPieceSent(std::size_t index, Code code, ConstBytes response) {
  Object& object = objects_[index];
  const NodeId node = plan_.grants[plan_.chunks[object.chunk].grant].nodes[object.hop];
  const auto answer = wire::PutPieceResponse::Decode(response);
  object.pressed = context_->health->OnEnd(node, code, response) || object.pressed;
  object.costs_retry =
      object.costs_retry || code == Code::kDeadlineExceeded || code == Code::kResourceExhausted;
  object.no_room = object.no_room || code == Code::kResourceExhausted;
  if (code == Code::kUnavailable || code == Code::kDeadlineExceeded) {
    failing_since_.emplace(node, object.sent_at);
    if (GivenUp(node)) CancelPieces(node);
  } else if (code != Code::kCancelled) {
    failing_since_.erase(node);
  }
  if (code == Code::kOk && answer) {
    for (const wire::ReplicaAck& ack : answer->acks) {
      const bool known = std::any_of(object.acks.begin(), object.acks.end(),
                                     [&](const auto& a) { return a.node == ack.node; });
      if (!known && object.acks.size() < limits::kReplicasMax) object.acks.push_back(ack);
    }
  }
  if (--object.pieces_out > 0) return;
  // A replica that the one before it could not reach may be within our own reach; and if nobody has
  // all of it yet, the next one takes it from us directly.
  if (!std::exchange(object.pressed, false)) {
    ++object.hop;
    object.pressed_since = {};
  }
  Send(index);
}

void StoreOp::EndObject(std::size_t index) {
  Object& object = objects_[index];
  if (object.over) return;
  object.over = true;
  context_->staging->Give(object.staging, StagingUse::kStore);
  object.staging = {};
  --objects_in_flight_;
  const std::uint16_t grant = plan_.chunks[object.chunk].grant;
  if (--grants_[grant].objects_open == 0 && !closed_) Commit(grant);
  Pump();
}

// -- 3. Committing -----------------------------------------------------------------------------

void StoreOp::NoteFailed(bool no_room) {
  ++report_.chunks_failed;
  no_room_ = no_room_ || no_room;
}

void StoreOp::Commit(std::size_t grant) {
  std::vector<std::size_t> committed;
  for (const std::size_t index : grants_[grant].objects) {
    const Object& object = objects_[index];
    if (object.acks.empty()) {
      NoteFailed(object.no_room);
    } else {
      committed.push_back(index);
    }
  }
  if (!committed.empty()) return SendCommit(grant, std::move(committed));
  Abort(grant);
  if (--grants_open_ == 0) NameContext();
}

void StoreOp::SendCommit(std::size_t grant, std::vector<std::size_t> committed) {
  wire::PutCommitRequest request;
  request.head.trace = trace_;
  if (context_->commit_codes) request.head.version = wire::kPutCommitVersionCodes;
  request.ticket = plan_.grants[grant].ticket;
  std::size_t bytes = 0;
  for (const std::size_t index : committed) {
    const Object& object = objects_[index];
    request.objects.push_back({object.header.key, shape_, object.header.level_bytes, object.acks});
    bytes += object.size_bytes;
  }
  CallRequest call;
  request.Encode(call.request);
  const std::chrono::milliseconds writing(bytes / kCommitBytesPerMs);
  call.deadline = std::min(deadline_, CallDeadline() + writing);
  call.done = [self = shared_from_this(), grant, committed = std::move(committed),
               codes = context_->commit_codes](Code code, ConstBytes response) mutable {
    if (code == Code::kUnimplemented && codes && !self->closed_) {  // an older coordinator
      self->context_->commit_codes = false;
      self->SendCommit(grant, std::move(committed));
      return;
    }
    self->OnCommitted(committed, code, response);
  };
  calls_.push_back(context_->loop->calls().Start(std::move(call)));
}

void StoreOp::OnCommitted(const std::vector<std::size_t>& objects, Code code, ConstBytes response) {
  const auto answer = wire::PutCommitResponse::Decode(response);
  const bool usable = code == Code::kOk && answer && answer->objects.size() == objects.size();
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const std::size_t chunk = objects_[objects[i]].chunk;
    const auto state = usable ? answer->objects[i].state : wire::CommitState::kFailed;
    if (state == wire::CommitState::kFailed) {
      NoteFailed(usable && answer->objects[i].code == Code::kResourceExhausted);
      continue;
    }
    chunk_stored_[chunk] = true;
    if (state == wire::CommitState::kPending) {
      ++report_.chunks_pending;
      continue;
    }
    ++report_.chunks_stored;
    const wire::PutGrant& granted = plan_.grants[plan_.chunks[chunk].grant];
    if (answer->objects[i].replicas < granted.replicas) ++report_.chunks_under_replicated;
    if (answer->objects[i].replicas_on_disk > 0) ++report_.chunks_on_disk;
    if (chunk + 1 == plan_.chunks.size()) last_chunk_visible_ = true;
    const bool without = objects_[objects[i]].header.profile.IsZero();
    if (TakesProfile() && without) without_profile_.push_back(chunk);
  }
  if (!usable && code_ == Code::kOk) code_ = code == Code::kOk ? Code::kInternal : code;
  if (--grants_open_ == 0 && !closed_) NameContext();
}

void StoreOp::Abort(std::size_t grant) {
  wire::PutAbortRequest request;
  request.head.trace = trace_;
  request.ticket = plan_.grants[grant].ticket;
  CallRequest call;
  request.Encode(call.request);
  call.deadline = context_->loop->Now() + context_->options.timeout;
  call.done = [](Code, ConstBytes) {};
  context_->loop->calls().Start(std::move(call));
}

// -- 4. The context ----------------------------------------------------------------------------

void StoreOp::NameContext() {
  if (report_.chunks_failed > 0 && code_ == Code::kOk) {
    code_ = no_room_ ? Code::kResourceExhausted : Code::kUnavailable;
  }
  if (!without_profile_.empty()) {
    std::vector<ChunkKey> chain;
    for (const PlannedChunk& chunk : plan_.chunks) chain.push_back(chunk.key);
    std::sort(without_profile_.begin(), without_profile_.end());
    context_->profiles->OnStored(model_, chain, without_profile_);
  }
  // Of several writers, the one whose commit completed the last chunk names the context.
  wire::ContextUpdateRequest request;
  for (std::size_t c = 0; c < plan_.chunks.size() && chunk_stored_[c]; ++c) {
    request.keys.push_back(plan_.chunks[c].key);
    request.token_count += plan_.chunks[c].token_count;
  }
  const bool mine = last_chunk_visible_ || (report_.chunks_failed > 0 && shape_.count == 1);
  if (plan_.context.empty() || request.keys.empty() || !mine) {
    Close(code_);
    return;
  }
  request.head.trace = trace_;
  request.name = plan_.context;
  request.model = plan_.model;
  CallRequest call;
  request.Encode(call.request);
  call.deadline = CallDeadline();
  call.done = [self = shared_from_this()](Code code, ConstBytes) {
    if (code != Code::kOk && self->code_ == Code::kOk) self->code_ = code;
    self->Close(self->code_);
  };
  calls_.push_back(context_->loop->calls().Start(std::move(call)));
}

}  // namespace kdn::client
