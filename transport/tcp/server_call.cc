#include "transport/tcp/server_call.h"

#include <algorithm>
#include <utility>

#include "transport/tcp/server_connection.h"

namespace kdn::transport::tcp {
namespace {

template <class Spans>
std::size_t TotalBytes(const Spans& spans) {
  std::size_t total = 0;
  for (const auto& span : spans) total += span.size();
  return total;
}

bool Fits(std::size_t offset, std::size_t size, std::size_t room) {
  return size <= limits::kPieceBytesMax && offset <= room && size <= room - offset;
}

}  // namespace

void ServerCall::operator delete(ServerCall* call, std::destroying_delete_t) {
  call->Release();
}

void ServerCall::Destroy(ServerCall* call) {
  call->~ServerCall();
  ::operator delete(call);
}

void ServerCall::Begin(ServerConnection& connection, const Peer& peer, const FrameHeader& header,
                       TimePoint deadline, const shm::SharedPlace& place) {
  connection_ = &connection;
  peer_ = peer;
  stream_.call = header.call;
  stream_.place = place;
  send_bulk_bytes_ = header.size_a;
  receive_bulk_bytes_ = header.size_b;
  deadline_ = deadline;
  pieces_out_ = 0;
  pull_first_ = pull_count_ = pulls_sent_ = 0;
  moved_pending_ = 0;
  code_ = Code::kOk;
  held_ = finished_ = abandoned_ = false;
  response_in_flight_ = response_sent_ = landing_open_ = false;
}

void ServerCall::AddMoved(std::uint32_t piece, Code code) {
  if (host_ == nullptr) return;
  ++moved_pending_;
  host_->AddMoved(*this, piece, code);
}

bool ServerCall::TakeMoved() {
  --moved_pending_;
  return held_;
}

void ServerCall::SendPiece(std::uint32_t piece, std::size_t offset,
                           std::span<const ConstBytes> from) {
  const std::size_t size = TotalBytes(from);
  if (finished_ || abandoned_ || connection_ == nullptr) return AddMoved(piece, Code::kCancelled);
  if (!Fits(offset, size, receive_bulk_bytes_)) return AddMoved(piece, Code::kOutOfRange);
  ++pieces_out_;
  connection_->outbox().PushPiece(stream_, piece, offset, from, 0, size);
  host_->AddDirty(*connection_);
}

void ServerCall::ReceivePiece(std::uint32_t piece, std::size_t offset,
                              std::span<const MutableBytes> into) {
  const std::size_t size = TotalBytes(into);
  if (finished_ || abandoned_ || connection_ == nullptr) return AddMoved(piece, Code::kCancelled);
  if (!Fits(offset, size, send_bulk_bytes_)) return AddMoved(piece, Code::kOutOfRange);
  if (pull_count_ == pulls_.size()) {
    std::rotate(pulls_.begin(), pulls_.begin() + static_cast<std::ptrdiff_t>(pull_first_),
                pulls_.end());
    pull_first_ = 0;
    pulls_.emplace_back();
  }
  Pull& pull = PullAt(pull_count_++);
  pull.piece = piece;
  pull.offset = offset;
  pull.size = size;
  pull.into.assign(into.begin(), into.end());
  SendPulls();
}

std::size_t ServerCall::CopyPulls(std::size_t budget) {
  std::size_t copied = 0;
  while (WantsCopies() && copied < budget) {
    const Pull& pull = PullAt(0);
    const std::uint32_t piece = pull.piece;
    copied += pull.size;
    // A caller that has given up says so in a frame that is on its way.
    const bool whole = stream_.place.Read(pull.offset, pull.into);
    pull_first_ = (pull_first_ + 1) % pulls_.size();
    --pull_count_;
    AddMoved(piece, whole ? Code::kOk : Code::kCancelled);
  }
  return copied;
}

void ServerCall::SendPulls() {
  if (stream_.place.valid()) {
    if (pull_count_ > 0) connection_->AddCopier(*this);
    return host_->AddDirty(*connection_);
  }
  while (pulls_sent_ < std::min<std::size_t>(pull_count_, kPullsPerCallMax)) {
    const Pull& pull = PullAt(pulls_sent_++);
    connection_->outbox().Push({.type = FrameType::kPull,
                                .call = id(),
                                .piece = pull.piece,
                                .offset = pull.offset,
                                .size_a = pull.size},
                               {}, nullptr);
    host_->AddDirty(*connection_);
  }
  connection_->ExpectBulk(pulls_sent_ > 0);
}

Landing ServerCall::OnSlice(const FrameHeader& header) {
  if (pulls_sent_ == 0) return {.kind = Landing::Kind::kError};
  Pull& pull = PullAt(0);
  if (!landing_open_) landing_.Reset(pull.into);
  landing_open_ = true;
  const std::size_t filled = landing_.filled();
  if (header.piece != pull.piece || header.offset != pull.offset + filled ||
      header.size > pull.size - filled) {
    return {.kind = Landing::Kind::kError};
  }
  return {.kind = Landing::Kind::kTake, .slice = &landing_, .told = true};
}

void ServerCall::OnSliceLanded(const FrameHeader& header, std::size_t filled) {
  if (!held_ || pulls_sent_ == 0) return;
  host_->TellArrived(*this, header.piece, header.offset + filled - PullAt(0).offset);
}

bool ServerCall::OnPieceEnd(const FrameHeader& header) {
  if (pulls_sent_ == 0) return false;
  const Pull& pull = PullAt(0);
  const std::size_t filled = landing_open_ ? landing_.filled() : 0;
  if (header.piece != pull.piece || header.offset != pull.offset || header.size_a != pull.size ||
      filled != pull.size) {
    return false;
  }
  landing_open_ = false;
  pull_first_ = (pull_first_ + 1) % pulls_.size();
  --pull_count_;
  --pulls_sent_;
  AddMoved(header.piece, Code::kOk);
  SendPulls();
  return true;
}

void ServerCall::DropPulls(Code code) {
  for (std::size_t i = 0; i < pull_count_; ++i) AddMoved(PullAt(i).piece, code);
  pull_first_ = pull_count_ = pulls_sent_ = 0;
  landing_open_ = false;
  connection_->DropLanding(landing_);
}

void ServerCall::Finish(Code code, ConstBytes response) {
  if (finished_ || abandoned_ || connection_ == nullptr) return;
  finished_ = true;
  code_ = code;
  if (response.size() <= limits::kResponseBytesMax) {
    response_.Assign(response);
  } else {
    code_ = Code::kInternal;
  }
  DropPulls(Code::kCancelled);
  if (stream_.head == nullptr) SendResponse();
  host_->AddDirty(*connection_);
}

// The caller may use the slot again as soon as it has the response, so it is free from here on.
void ServerCall::SendResponse() {
  FrameHeader header{.type = FrameType::kResponse, .code = code_, .call = id()};
  header.size = static_cast<std::uint32_t>(response_.bytes().size());
  response_in_flight_ = true;
  connection_->FreeSlot(*this);
  connection_->outbox().Push(header, response_.bytes(), this);
}

void ServerCall::OnStreamEmpty() {
  if (finished_ && !response_in_flight_) SendResponse();
}

void ServerCall::OnPieceOut(std::uint32_t piece, Code code) {
  --pieces_out_;
  AddMoved(piece, code);
  DetachIfDone();
}

void ServerCall::OnMessageOut() {
  response_in_flight_ = false;
  response_sent_ = true;
  DetachIfDone();
  MaybeRecycle();
}

void ServerCall::DetachIfDone() {
  if (connection_ != nullptr && response_sent_ && pieces_out_ == 0) Detach();
}

void ServerCall::Detach() {
  connection_->FreeSlot(*this);
  connection_->Remove(*this);
  connection_ = nullptr;
}

bool ServerCall::Abandon(Code code) {
  abandoned_ = true;
  connection_->outbox().Abandon(stream_, code);
  if (connection_ == nullptr) return false;  // that was the last thing it waited for
  DropPulls(code);
  Detach();
  return held_ && !finished_;
}

// The service has destroyed its Exchange.
void ServerCall::Release() {
  held_ = false;
  if (host_ == nullptr) return Destroy(this);
  if (connection_ != nullptr && (!finished_ || pieces_out_ > 0)) {
    DropPulls(Code::kCancelled);
    connection_->outbox().Abandon(stream_, Code::kCancelled);
    finished_ = true;
    code_ = Code::kInternal;
    // Pieces leave before their response does, so a response can still be replaced.
    const bool unanswered = !response_in_flight_ || connection_->outbox().TakeBack(this);
    if (unanswered) {
      response_.Resize(0);
      SendResponse();
    }
    host_->AddDirty(*connection_);
  }
  MaybeRecycle();
}

void ServerCall::MaybeRecycle() {
  if (held_ || connection_ != nullptr || moved_pending_ > 0 || host_ == nullptr) return;
  request_.Trim();
  response_.Trim();
  host_->Recycle(*this);
}

}  // namespace kdn::transport::tcp
