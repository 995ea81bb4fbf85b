#include "transport/loopback/pipe.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace kdn::transport::loopback {

bool Pipe::Submit(const CallPtr& call) {
  const std::lock_guard lock(mutex_);
  if (server_signal_ == nullptr) return false;
  requests_.push_back(call);
  open_.push_back(call);
  server_signal_->Raise();
  return true;
}

bool Pipe::server_gone() const {
  const std::lock_guard lock(mutex_);
  return server_signal_ == nullptr;
}

bool Pipe::channel_gone() const {
  const std::lock_guard lock(mutex_);
  return channel_gone_;
}

bool Pipe::HasEvents() const {
  const std::lock_guard lock(mutex_);
  return !news_.empty();
}

bool Pipe::HasEnded(const SharedCall& call) const {
  const std::lock_guard lock(mutex_);
  return call.ended;
}

std::size_t Pipe::Take(std::span<Event> events, std::vector<CallPtr>& ended) {
  const std::lock_guard lock(mutex_);
  const bool was_full = news_.size() >= kNewsMax;
  std::size_t count = 0;
  while (count < events.size() && !news_.empty()) {
    events[count++] = news_.front().event;
    if (news_.front().ended != nullptr) ended.push_back(std::move(news_.front().ended));
    news_.pop_front();
  }
  if (was_full && count > 0 && server_signal_ != nullptr) server_signal_->Raise();
  return count;
}

std::vector<CallPtr> Pipe::TakeRequests() {
  const std::lock_guard lock(mutex_);
  std::vector<CallPtr> taken = std::exchange(requests_, {});
  std::erase_if(taken, [](const CallPtr& call) { return call->ended; });
  return taken;
}

Pipe::Moved Pipe::Send(SharedCall& call, std::uint32_t piece, std::size_t offset,
                       std::span<const ConstBytes> from) {
  const std::lock_guard lock(mutex_);
  if (call.ended) return Moved::kEnded;
  if (news_.size() >= kNewsMax) return Moved::kNoRoom;
  std::size_t size = 0;
  for (const ConstBytes bytes : from) {
    if (!bytes.empty()) {
      std::memcpy(call.window.data() + offset + size, bytes.data(), bytes.size());
    }
    size += bytes.size();
  }
  if (faults_ != nullptr && !faults_->OnPiece(call.window.subspan(offset, size))) {
    return Moved::kYes;
  }
  Event event{.tag = call.tag, .kind = EventKind::kPiece, .piece = piece};
  event.offset = offset;
  event.size_bytes = size;
  news_.push_back({event, nullptr});
  channel_signal_.Raise();
  return Moved::kYes;
}

Pipe::Moved Pipe::Receive(SharedCall& call, std::size_t offset,
                          std::span<const MutableBytes> into) {
  const std::lock_guard lock(mutex_);
  if (call.ended) return Moved::kEnded;
  std::size_t source = 0;  // of call.send_bulk, and how much of it is used
  std::size_t used = offset;
  for (MutableBytes bytes : into) {
    while (!bytes.empty()) {
      if (used >= call.send_bulk[source].size()) {
        used -= call.send_bulk[source++].size();
        continue;
      }
      const ConstBytes from = call.send_bulk[source].subspan(used);
      const std::size_t count = std::min(from.size(), bytes.size());
      std::memcpy(bytes.data(), from.data(), count);
      bytes = bytes.subspan(count);
      used += count;
    }
  }
  for (const MutableBytes bytes : into) {
    if (faults_ != nullptr && !faults_->OnPiece(bytes)) return Moved::kLost;
  }
  return Moved::kYes;
}

void Pipe::EndLocked(const CallPtr& call, Code code, ConstBytes response) {
  if (call->ended) return;
  call->ended = true;
  call->code = code;
  call->response.assign(response.begin(), response.end());
  UnpinAll(call->pins);
  std::erase(open_, call);
  Event event{.tag = call->tag, .kind = EventKind::kDone, .code = code};
  event.response = call->response;
  news_.push_back({event, call});
  channel_signal_.Raise();
  if (server_signal_ != nullptr) server_signal_->Raise();
}

void Pipe::End(const CallPtr& call, Code code, ConstBytes response) {
  const std::lock_guard lock(mutex_);
  EndLocked(call, code, response);
}

void Pipe::CloseChannel() {
  const std::lock_guard lock(mutex_);
  channel_gone_ = true;
  while (!open_.empty()) {
    const CallPtr call = open_.back();
    EndLocked(call, Code::kCancelled, {});
  }
  if (server_signal_ != nullptr) server_signal_->Raise();
}

void Pipe::CloseServer() {
  const std::lock_guard lock(mutex_);
  server_signal_ = nullptr;
  while (!open_.empty()) {
    const CallPtr call = open_.back();
    EndLocked(call, Code::kUnavailable, {});
  }
  channel_signal_.Raise();
}

}  // namespace kdn::transport::loopback
