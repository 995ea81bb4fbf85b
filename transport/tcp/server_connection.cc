#include "transport/tcp/server_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace kdn::transport::tcp {
namespace {

constexpr std::size_t kReadBudgetBytes = 2 * limits::kMiB;
constexpr std::size_t kSendBudgetBytes = 4 * limits::kMiB;
// A peer that asks but does not read is not read either.
constexpr std::size_t kQueuedMessagesMax = std::size_t{2} * kCallSlots;
// Of requests that are not answered yet; what goes beyond is told to come back later.
constexpr std::size_t kRequestBytesOpenMax = 32 * limits::kMiB;
// A peer that takes nothing of what is sent to it for so long holds memory that others need.
constexpr std::chrono::seconds kSendStallMax{10};

}  // namespace

ServerConnection::ServerConnection(Fd fd, std::unique_ptr<HelloServer> hello,
                                   TimePoint hello_deadline, ServerCallHost& host, void* zeros)
    : fd_(std::move(fd)),
      hello_(std::move(hello)),
      hello_deadline_(hello_deadline),
      host_(host),
      zeros_(zeros) {}

ServerConnection::~ServerConnection() {
  Break();
}

void ServerConnection::ReadHello() {
  std::array<std::byte, 1024> bytes;
  while (hello_->state() == HelloState::kTalking) {
    // Exactly what the Hello lacks, so that what follows it stays in the socket.
    const std::size_t wanted = std::min(hello_->wanted(), bytes.size());
    const ssize_t got = recv(fd_.get(), bytes.data(), wanted, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return FlushHello();
    if (got <= 0) return Break();
    hello_->Feed({bytes.data(), static_cast<std::size_t>(got)}, hello_out_);
  }
  FlushHello();
  if (!alive()) return;
  if (hello_->state() == HelloState::kRefused) {
    refusal_ = hello_->status();
    // Unread bytes would turn the close into a reset, which could overtake the refusal.
    shutdown(fd_.get(), SHUT_WR);
    while (recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
    return Break();
  }
  peer_ = hello_->peer();
  invite_ = hello_->share();
  hello_.reset();
  link_ = std::make_unique<Link>(zeros_);
}

// An answer is far smaller than a socket buffer: a peer for which it does not fit is no peer.
void ServerConnection::FlushHello() {
  if (hello_out_.empty()) return;
  const ssize_t sent =
      send(fd_.get(), hello_out_.data(), hello_out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(hello_out_.size())) return Break();
  hello_out_.clear();
}

void ServerConnection::Read() {
  if (alive() && !ready()) ReadHello();
  if (!alive() || !ready()) return;
  const ReadResult result = link_->inbox.Read(fd_.get(), kReadBudgetBytes, *this);
  stalled_ = result == ReadResult::kStalled;
  if (result == ReadResult::kClosed || result == ReadResult::kBroken) Break();
}

const Peer* ServerConnection::Invited(const Nonce& ticket) const {
  if (!alive() || !ready() || !invite_) return nullptr;
  return EqualInConstantTime(invite_->ticket, ticket) ? &peer_ : nullptr;
}

void ServerConnection::UseShared(std::shared_ptr<const shm::OfferedMemory> memory,
                                 std::uint32_t number) {
  invite_.reset();
  shared_ = std::move(memory);
  shared_number_ = number;
}

bool ServerConnection::FindShared(const FrameHeader& header, shm::SharedPlace& place) const {
  if (UnpackSharedBulk(header.piece).region == 0) return true;
  if (shared_ == nullptr) return false;
  const std::optional<shm::SharedPlace> found = shared_->Find(header, shared_number_);
  if (found) place = *found;
  return found.has_value();
}

void ServerConnection::AddCopier(ServerCall& call) {
  std::vector<ServerCall*>& copiers = link_->copiers;
  if (std::find(copiers.begin(), copiers.end(), &call) == copiers.end()) copiers.push_back(&call);
}

// One turn: what is left waits for the other connections' turns.
void ServerConnection::CopyPulls() {
  std::vector<ServerCall*>& copiers = link_->copiers;
  std::size_t copied = 0;
  while (!copiers.empty() && copied < kReadBudgetBytes) {
    ServerCall& call = *copiers.front();
    copied += call.CopyPulls(kReadBudgetBytes - copied);
    if (!call.WantsCopies()) copiers.erase(copiers.begin());
  }
  if (!copiers.empty()) host_.AddDirty(*this);
}

void ServerConnection::Flush() {
  if (!alive() || !ready()) return;
  CopyPulls();
  if (blocked_) return;
  const std::uint64_t sent_before = link_->outbox.bytes_sent();
  switch (link_->outbox.Flush(fd_.get(), kSendBudgetBytes)) {
    case FlushResult::kIdle:
      send_deadline_ = TimePoint::max();
      break;
    case FlushResult::kBlocked:
    case FlushResult::kMore:
      blocked_ = true;
      if (link_->outbox.bytes_sent() != sent_before || send_deadline_ == TimePoint::max()) {
        send_deadline_ = host_.Now() + kSendStallMax;
      }
      break;
    case FlushResult::kBroken:
      return Break();
  }
  if (stalled_ && link_->outbox.queued_messages() < kQueuedMessagesMax / 2) Read();
}

void ServerConnection::SayGoodbye() {
  if (!alive() || !ready()) return;
  link_->outbox.Push({.type = FrameType::kGoodbye, .code = Code::kUnavailable}, {}, nullptr);
  Flush();
}

void ServerConnection::Abandon(ServerCall& call, Code code) {
  if (call.Abandon(code)) {
    host_.TellAbandoned(call);
  } else {
    call.MaybeRecycle();
  }
}

void ServerConnection::Break() {
  if (!alive()) return;
  fd_.Close();
  blocked_ = stalled_ = false;
  send_deadline_ = TimePoint::max();
  if (!ready()) return;
  if (ServerCall* incoming = std::exchange(link_->incoming, nullptr)) Abandon(*incoming, {});
  link_->copiers.clear();
  link_->outbox.DropMessages();
  while (!link_->calls.empty()) Abandon(*link_->calls.back(), Code::kUnavailable);
}

TimePoint ServerConnection::Expire(TimePoint now) {
  TimePoint next = TimePoint::max();
  if (send_deadline_ <= now) {
    // A socket says that it can be written to only once much of it is free: a slow peer may have
    // made a little room.
    blocked_ = false;
    Flush();
    if (send_deadline_ <= now) Break();
  }
  if (!alive() || !ready()) return next;
  next = send_deadline_;
  for (std::size_t i = link_->calls.size(); i > 0; --i) {
    // Ending one moves the last one into its place; telling the service may end others.
    if (i > link_->calls.size()) continue;
    ServerCall* call = link_->calls[i - 1];
    if (Find(call->id()) != call) continue;  // answered; only the answer is on its way
    if (call->deadline() > now) {
      next = std::min(next, call->deadline());
      continue;
    }
    const std::uint32_t id = call->id();
    Abandon(*call, Code::kDeadlineExceeded);
    link_->outbox.Push({.type = FrameType::kResponse, .code = Code::kDeadlineExceeded, .call = id},
                       {}, nullptr);
    host_.AddDirty(*this);
  }
  return next;
}

ServerCall* ServerConnection::Find(std::uint32_t id) const {
  ServerCall* call = link_->slots[SlotOf(id)];
  return call != nullptr && call->id() == id ? call : nullptr;
}

void ServerConnection::FreeSlot(const ServerCall& call) {
  ServerCall*& slot = link_->slots[SlotOf(call.id())];
  if (slot == &call) slot = nullptr;
}

void ServerConnection::Remove(const ServerCall& call) {
  std::vector<ServerCall*>& calls = link_->calls;
  if (call.connection_index >= calls.size() || calls[call.connection_index] != &call) return;
  link_->request_bytes -= call.request().size();
  std::erase(link_->copiers, &call);
  calls[call.connection_index] = calls.back();
  calls[call.connection_index]->connection_index = call.connection_index;
  calls.pop_back();
}

bool ServerConnection::CanTake(const FrameHeader&) {
  return link_->outbox.queued_messages() < kQueuedMessagesMax;
}

Landing ServerConnection::OnBody(const FrameHeader& header) {
  if (header.type == FrameType::kRequest) return OnRequestBody(header);
  if (header.type != FrameType::kSlice) return {.kind = Landing::Kind::kError};
  ServerCall* call = Find(header.call);
  // What the caller sent before it heard that the call had ended.
  if (call == nullptr) return {};
  return call->OnSlice(header);
}

Landing ServerConnection::OnRequestBody(const FrameHeader& header) {
  shm::SharedPlace place;
  if (link_->slots[SlotOf(header.call)] != nullptr || !FindShared(header, place)) {
    return {.kind = Landing::Kind::kError};
  }
  if (link_->request_bytes + header.size > kRequestBytesOpenMax) {
    link_->outbox.Push(
        {.type = FrameType::kResponse, .code = Code::kResourceExhausted, .call = header.call}, {},
        nullptr);
    host_.AddDirty(*this);
    return {};
  }
  constexpr auto kMax = std::chrono::microseconds(kCallTimeMax);
  const auto remaining = std::chrono::microseconds(
      std::min(header.remaining_us, static_cast<std::uint64_t>(kMax.count())));
  ServerCall& call = host_.NewCall();
  call.Begin(*this, peer_, header, host_.Now() + remaining, place);
  call.connection_index = link_->calls.size();
  link_->calls.push_back(&call);
  link_->incoming = &call;
  link_->request_bytes += header.size;
  return {.kind = Landing::Kind::kTake, .body = call.request_buffer().Resize(header.size)};
}

void ServerConnection::OnSliceLanded(const FrameHeader& header, std::size_t filled, std::size_t) {
  if (ServerCall* call = Find(header.call)) call->OnSliceLanded(header, filled);
}

bool ServerConnection::OnFrame(const FrameHeader& header, ConstBytes) {
  switch (header.type) {
    case FrameType::kRequest:
      return OnRequest(header);
    case FrameType::kSlice:
      return true;
    case FrameType::kPieceEnd: {
      ServerCall* call = Find(header.call);
      return call == nullptr || call->OnPieceEnd(header);
    }
    case FrameType::kCancel:
      if (ServerCall* call = Find(header.call)) Abandon(*call, Code::kCancelled);
      return true;
    case FrameType::kResponse:
    case FrameType::kPull:
    case FrameType::kGoodbye:
      break;
  }
  return false;
}

bool ServerConnection::OnRequest(const FrameHeader& header) {
  if (header.size == 0 && OnRequestBody(header).kind == Landing::Kind::kError) return false;
  ServerCall* call = std::exchange(link_->incoming, nullptr);
  if (call == nullptr) return true;
  link_->slots[SlotOf(header.call)] = call;
  host_.Deliver(*call);
  return true;
}

}  // namespace kdn::transport::tcp
