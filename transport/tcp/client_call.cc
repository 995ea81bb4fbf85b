#include "transport/tcp/client_call.h"

#include <algorithm>
#include <cstring>

namespace kdn::transport::tcp {

MutableBytes Buffer::Resize(std::size_t size) {
  if (size > capacity_) {
    data_ = std::make_unique_for_overwrite<std::byte[]>(size);
    capacity_ = size;
  }
  size_ = size;
  return {data_.get(), size_};
}

void Buffer::Assign(ConstBytes bytes) {
  const MutableBytes to = Resize(bytes.size());
  if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
}

void Buffer::Trim() {
  size_ = 0;
  if (capacity_ <= kKeepBytes) return;
  data_.reset();
  capacity_ = 0;
}

std::size_t Filled::RoomAt(std::size_t offset, std::size_t window_bytes) const {
  for (const Run& run : runs_) {
    if (offset < run.begin) return run.begin - offset;
    if (offset < run.end) return 0;
  }
  return offset < window_bytes ? window_bytes - offset : 0;
}

bool Filled::Add(std::size_t offset, std::size_t size) {
  if (size == 0) return true;
  const std::size_t end = offset + size;
  const auto after =
      std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) { return run.begin >= offset; });
  const bool joins_after = after != runs_.end() && after->begin == end;
  const bool joins_before = after != runs_.begin() && (after - 1)->end == offset;
  if (joins_before) {
    (after - 1)->end = joins_after ? after->end : end;
    if (joins_after) runs_.erase(after);
  } else if (joins_after) {
    after->begin = offset;
  } else {
    runs_.insert(after, {offset, end});
  }
  return runs_.size() <= limits::kPiecesPerCallMax;
}

ClientCalls::ClientCalls(std::uint32_t depth, shm::ClientShare* share)
    : depth_(depth), share_(share), pieces_(kPieceEventsMax) {
  for (auto* list : {&free_, &active_, &ended_, &delivered_}) list->reserve(depth);
}

ClientCall* ClientCalls::Open() {
  ClientCall* call = nullptr;
  if (!free_.empty()) {
    call = free_.back();
    free_.pop_back();
  } else if (all_.size() < depth_) {
    all_.push_back(std::make_unique<ClientCall>());
    call = all_.back().get();
    call->stream.sink = call;
  } else {
    return nullptr;
  }
  call->active_index = active_.size();
  active_.push_back(call);
  return call;
}

void ClientCalls::Recycle(ClientCall* call) {
  call->request.Trim();
  call->response.Trim();
  call->send_bulk.clear();
  call->window = {};
  call->loan = {};
  call->progress = {};
  call->filled.Clear();
  call->pulls_open = 0;
  free_.push_back(call);
}

void ClientCalls::Forget(ClientCall* call) {
  active_[call->active_index] = active_.back();
  active_[call->active_index]->active_index = call->active_index;
  active_.pop_back();
  if (call->loan.valid()) [[maybe_unused]]
    const bool closed = share_->Close(call->loan);  // it was never opened
  UnpinAll(call->pins);
  Recycle(call);
}

void ClientCalls::End(ClientCall* call, Code code) {
  active_[call->active_index] = active_.back();
  active_[call->active_index]->active_index = call->active_index;
  active_.pop_back();
  call->connection = nullptr;
  call->code = code;
  if (call->loan.valid() && !share_->Close(call->loan)) {
    settling_.push_back({call, TimePoint::max()});
    return;
  }
  UnpinAll(call->pins);
  ended_.push_back(call);
}

bool ClientCalls::Settles(Settling& settling, TimePoint now) {
  ClientCall* call = settling.call;
  if (settling.until == TimePoint::max()) settling.until = now + kSettleTime;
  if (!share_->Close(call->loan) &&
      (now < settling.until || !share_->Revoke(call->loan, call->window))) {
    return false;
  }
  UnpinAll(call->pins);
  ended_.push_back(call);
  return true;
}

bool ClientCalls::Settle(TimePoint now) {
  std::erase_if(settling_, [&](Settling& settling) { return Settles(settling, now); });
  return !settling_.empty();
}

void ClientCalls::SettleAll() {
  for (Settling& settling : settling_) settling.until = TimePoint::min();
  // Where there is no memory to cut it off with, the server has to come to the end of its block.
  while (Settle(TimePoint::min())) {
  }
}

void ClientCalls::AddPiece(std::uint64_t tag, std::uint32_t piece, std::size_t offset,
                           std::size_t size) {
  Event& event = pieces_[(piece_next_ + piece_count_++) % pieces_.size()];
  event = Event{.tag = tag, .kind = EventKind::kPiece, .piece = piece};
  event.offset = offset;
  event.size_bytes = size;
}

void ClientCalls::BeginPoll() {
  std::size_t kept = 0;
  for (ClientCall* call : delivered_) {
    // Half of its request may still be in the hands of a slow connection.
    if (call->request_in_flight) {
      delivered_[kept++] = call;
    } else {
      Recycle(call);
    }
  }
  delivered_.resize(kept);
}

std::size_t ClientCalls::Deliver(std::span<Event> events) {
  std::size_t count = 0;
  // Pieces first: the end of a call comes after all of its pieces.
  for (; piece_count_ > 0 && count < events.size(); --piece_count_) {
    events[count++] = pieces_[piece_next_];
    piece_next_ = (piece_next_ + 1) % pieces_.size();
  }
  if (piece_count_ > 0) return count;
  for (; ended_next_ < ended_.size() && count < events.size(); ++ended_next_) {
    ClientCall* call = ended_[ended_next_];
    Event& event = events[count++];
    event = Event{.tag = call->tag, .kind = EventKind::kDone, .code = call->code};
    event.response = call->response.bytes();
    delivered_.push_back(call);
  }
  if (ended_next_ == ended_.size()) {
    ended_.clear();
    ended_next_ = 0;
  }
  return count;
}

ClientCall* ClientCalls::FindByTag(std::uint64_t tag) const {
  const auto it = std::find_if(active_.begin(), active_.end(),
                               [tag](const ClientCall* call) { return call->tag == tag; });
  return it == active_.end() ? nullptr : *it;
}

}  // namespace kdn::transport::tcp
