#include "transport/tcp/client_connection.h"

#include <utility>

namespace kdn::transport::tcp {
namespace {

constexpr std::size_t kReadBudgetBytes = 4 * limits::kMiB;
constexpr std::size_t kSendBudgetBytes = 4 * limits::kMiB;
// A peer is given up once it was silent for so many deadlines and so long.
constexpr std::uint32_t kOverdueMax = 3;
constexpr std::chrono::milliseconds kSilenceMax{1000};

}  // namespace

ClientConnection::ClientConnection(Fd fd, std::uint32_t number, ClientCalls& calls, void* zeros)
    : fd_(std::move(fd)), number_(number), calls_(calls), outbox_(zeros), slots_(kCallSlots) {
  free_slots_.reserve(kCallSlots);
  for (std::uint32_t slot = kCallSlots; slot > 0; --slot) free_slots_.push_back(slot - 1);
}

ClientConnection::~ClientConnection() {
  Break();
}

void ClientConnection::Start(ClientCall& call, std::uint64_t remaining_us) {
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = &call;
  call.id = generation_++ * kCallSlots + slot;
  call.connection = this;
  call.stream.call = call.id;
  call.request_in_flight = true;
  ++open_calls_;
  if (ExpectsBulk(call)) ++open_windows_;
  inbox_.ExpectBulk(open_windows_ > 0);
  FrameHeader header{.type = FrameType::kRequest, .call = call.id};
  header.size = static_cast<std::uint32_t>(call.request.bytes().size());
  header.size_a = call.send_bulk_bytes;
  header.size_b = call.window.size();
  header.remaining_us = remaining_us;
  if (call.loan.valid()) {
    header.piece = PackSharedBulk(call.loan.bulk);
    header.offset = call.loan.offset;
    calls_.share()->Open(call.loan, number_, call.id);
  }
  outbox_.Push(header, call.request.bytes(), &call);
}

void ClientConnection::Detach(ClientCall& call, Code code) {
  slots_[SlotOf(call.id)] = nullptr;
  free_slots_.push_back(SlotOf(call.id));
  --open_calls_;
  if (ExpectsBulk(call)) --open_windows_;
  inbox_.ExpectBulk(open_windows_ > 0);
  inbox_.Drop(&call.landing);
  // The answer to an earlier frame may be half way into it.
  inbox_.DropBody(call.response.bytes().data());
  outbox_.Abandon(call.stream, code);
}

void ClientConnection::Stop(ClientCall& call, Code code) {
  Detach(call, code);
  call.response.Resize(0);
  if (call.request_in_flight && outbox_.TakeBack(&call)) {
    call.request_in_flight = false;
  } else {
    outbox_.Push({.type = FrameType::kCancel, .call = call.id}, {}, nullptr);
  }
  calls_.End(&call, code);
}

void ClientConnection::Break() {
  if (!alive()) return;
  fd_.Close();
  blocked_ = stalled_ = false;
  outbox_.DropMessages();
  for (ClientCall* call : slots_) {
    if (call == nullptr) continue;
    Detach(*call, Code::kUnavailable);
    call->response.Resize(0);
    calls_.End(call, Code::kUnavailable);
  }
}

void ClientConnection::NoteOverdue(TimePoint now) {
  if (overdue_ == 0 || overdue_bytes_ != inbox_.bytes_received()) {
    overdue_ = 0;
    overdue_since_ = now;
    overdue_bytes_ = inbox_.bytes_received();
  }
  ++overdue_;
}

bool ClientConnection::IsSilent(TimePoint now) const {
  // While it is stalled, it is this end that does not read.
  return alive() && !stalled_ && overdue_ >= kOverdueMax && now - overdue_since_ >= kSilenceMax &&
         overdue_bytes_ == inbox_.bytes_received();
}

void ClientConnection::Flush() {
  if (!alive()) return;
  switch (outbox_.Flush(fd_.get(), kSendBudgetBytes)) {
    case FlushResult::kIdle:
      blocked_ = false;
      break;
    case FlushResult::kBlocked:
    case FlushResult::kMore:
      blocked_ = true;
      break;
    case FlushResult::kBroken:
      Break();
      break;
  }
}

void ClientConnection::Read() {
  if (!alive()) return;
  const ReadResult result = inbox_.Read(fd_.get(), kReadBudgetBytes, *this);
  stalled_ = result == ReadResult::kStalled;
  if (result == ReadResult::kClosed || result == ReadResult::kBroken) Break();
}

ClientCall* ClientConnection::Find(std::uint32_t id) const {
  ClientCall* call = slots_[SlotOf(id)];
  return call != nullptr && call->id == id ? call : nullptr;
}

bool ClientConnection::CanTake(const FrameHeader& header) {
  return header.type != FrameType::kPieceEnd || calls_.HasRoomForPiece();
}

Landing ClientConnection::OnBody(const FrameHeader& header) {
  // What the server sent before it heard that the call had ended.
  ClientCall* call = Find(header.call);
  if (call == nullptr) return {};
  if (header.type == FrameType::kSlice) return OnSlice(*call, header);
  if (header.type != FrameType::kResponse) return {.kind = Landing::Kind::kError};
  return {.kind = Landing::Kind::kTake, .body = call->response.Resize(header.size)};
}

Landing ClientConnection::OnSlice(ClientCall& call, const FrameHeader& header) {
  // In shared memory a server moves bulk itself, or not at all.
  if (call.loan.valid()) return {.kind = Landing::Kind::kError};
  PieceProgress& progress = call.progress;
  if (!progress.open) {
    progress = {true, header.piece, header.offset, 0, 0};
    progress.room = call.filled.RoomAt(header.offset, call.window.size());
  }
  const bool in_order =
      header.piece == progress.piece && header.offset == progress.offset + progress.received;
  const bool inside = header.size <= progress.room - progress.received;
  if (!in_order || !inside) return {.kind = Landing::Kind::kError};
  progress.received += header.size;
  const MutableBytes into = call.window.subspan(header.offset, header.size);
  call.landing.Reset({&into, 1});
  return {.kind = Landing::Kind::kTake, .slice = &call.landing};
}

bool ClientConnection::OnFrame(const FrameHeader& header, ConstBytes) {
  if (header.type == FrameType::kGoodbye) return false;
  ClientCall* call = Find(header.call);
  if (call == nullptr) return true;
  switch (header.type) {
    case FrameType::kSlice:
      return true;
    case FrameType::kPieceEnd:
      return OnPieceEnd(*call, header);
    case FrameType::kPull:
      return OnPull(*call, header);
    case FrameType::kResponse:
      if (header.size == 0) call->response.Resize(0);
      Detach(*call, Code::kCancelled);
      calls_.End(call, header.code);
      return true;
    case FrameType::kRequest:
    case FrameType::kCancel:
    case FrameType::kGoodbye:
      break;
  }
  return false;
}

bool ClientConnection::OnPieceEnd(ClientCall& call, const FrameHeader& header) {
  PieceProgress& progress = call.progress;
  if (!progress.open) {
    // In shared memory it is there without a slice.
    const bool fits = call.loan.valid() && header.offset <= call.window.size() &&
                      header.size_a <= call.window.size() - header.offset;
    progress = {true, header.piece, header.offset, fits ? header.size_a : 0, 0};
  }
  if (header.piece != progress.piece || header.offset != progress.offset ||
      header.size_a != progress.received || header.offset > call.window.size()) {
    return false;
  }
  progress.open = false;
  if (!call.loan.valid() && !call.filled.Add(progress.offset, progress.received)) return false;
  calls_.AddPiece(call.tag, header.piece, header.offset, header.size_a);
  return true;
}

bool ClientConnection::OnPull(ClientCall& call, const FrameHeader& header) {
  if (header.offset > call.send_bulk_bytes ||
      header.size_a > call.send_bulk_bytes - header.offset || call.pulls_open >= kPullsPerCallMax) {
    return false;
  }
  ++call.pulls_open;
  outbox_.PushPiece(call.stream, header.piece, header.offset, call.send_bulk, header.offset,
                    header.size_a);
  return true;
}

}  // namespace kdn::transport::tcp
