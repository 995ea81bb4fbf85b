#include "transport/loopback/loopback_server.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::transport::loopback {

LoopbackExchange::~LoopbackExchange() {
  if (server_ == nullptr) return;
  server_->Forget(this);
  if (!answered_) pipe_->End(call_, Code::kInternal, {});
}

void LoopbackExchange::Queue(Piece piece, std::size_t size, std::size_t room) {
  if (server_ == nullptr) return;
  const bool fits =
      size <= limits::kPieceBytesMax && piece.offset <= room && size <= room - piece.offset;
  if (finished_ || abandoned_) {
    piece.refused = Code::kCancelled;
  } else if (!fits) {
    piece.refused = Code::kOutOfRange;
  }
  pieces_.push_back(std::move(piece));
  server_->AddDirty();
}

void LoopbackExchange::SendPiece(std::uint32_t piece, std::size_t offset,
                                 std::span<const ConstBytes> from) {
  std::size_t size = 0;
  for (const ConstBytes bytes : from) size += bytes.size();
  Piece queued{piece, offset, {from.begin(), from.end()}, {}, false, Code::kOk};
  Queue(std::move(queued), size, receive_bulk_bytes());
}

void LoopbackExchange::ReceivePiece(std::uint32_t piece, std::size_t offset,
                                    std::span<const MutableBytes> into) {
  std::size_t size = 0;
  for (const MutableBytes bytes : into) size += bytes.size();
  Piece queued{piece, offset, {}, {into.begin(), into.end()}, true, Code::kOk};
  Queue(std::move(queued), size, send_bulk_bytes());
}

void LoopbackExchange::Finish(Code code, ConstBytes response) {
  if (finished_ || abandoned_ || server_ == nullptr) return;
  finished_ = true;
  const bool fits = response.size() <= limits::kResponseBytesMax;
  code_ = fits ? code : Code::kInternal;
  if (fits) response_.assign(response.begin(), response.end());
  for (Piece& piece : pieces_) {
    if (piece.receives && piece.refused == Code::kOk) piece.refused = Code::kCancelled;
  }
  EndIfDue();
  server_->AddDirty();
}

// The answer comes after all pieces that were sent before it.
void LoopbackExchange::EndIfDue() {
  if (!finished_ || answered_) return;
  const auto moves = [](const Piece& piece) { return piece.refused == Code::kOk; };
  if (std::any_of(pieces_.begin(), pieces_.end(), moves)) return;
  answered_ = true;
  pipe_->End(call_, code_, response_);
}

LoopbackServer::LoopbackServer(std::string endpoint, const HelloPolicy& policy,
                               std::uint32_t connections_max, Service& service, const Clock& clock,
                               std::function<void()> on_close)
    : endpoint_(std::move(endpoint)),
      policy_(policy),
      connections_max_(connections_max),
      service_(service),
      clock_(clock),
      on_close_(std::move(on_close)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  for (const int fd : {signal_.fd(), timer_.fd()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
}

LoopbackServer::~LoopbackServer() {
  on_close_();
  for (const auto& pipe : pipes_) pipe->CloseServer();
  TellAbandoned(TimePoint::min());
  // What is still in flight is told that it never moves; later ones are told nothing.
  const std::vector<LoopbackExchange*> last = exchanges_;
  for (LoopbackExchange* exchange : last) {
    if (IsLive(exchange)) MovePieces(*exchange);
  }
  for (LoopbackExchange* exchange : exchanges_) exchange->server_ = nullptr;
}

std::shared_ptr<Pipe> LoopbackServer::Accept(const Peer& client, Faults* faults) {
  const std::lock_guard lock(mutex_);
  if (pipes_.size() >= connections_max_) return nullptr;
  pipes_.push_back(std::make_shared<Pipe>(client, signal_, faults));
  return pipes_.back();
}

bool LoopbackServer::IsLive(const LoopbackExchange* exchange) const {
  return std::find(exchanges_.begin(), exchanges_.end(), exchange) != exchanges_.end();
}

void LoopbackServer::Forget(LoopbackExchange* exchange) {
  std::erase(exchanges_, exchange);
}

std::size_t LoopbackServer::Poll() {
  progress_ = 0;
  signal_.Clear();
  timer_.Clear();
  TakeCalls();
  TellAbandoned(clock_.Now());
  const std::vector<LoopbackExchange*> now = exchanges_;
  for (LoopbackExchange* exchange : now) {
    // The service may have destroyed it when it heard of another one.
    if (IsLive(exchange)) MovePieces(*exchange);
  }
  TimePoint next = TimePoint::max();
  for (const LoopbackExchange* exchange : exchanges_) {
    if (!exchange->abandoned_) next = std::min(next, exchange->call_->deadline);
  }
  timer_.WakeAt(next, clock_.Now());
  return progress_;
}

void LoopbackServer::TakeCalls() {
  std::vector<std::shared_ptr<Pipe>> pipes;
  {
    const std::lock_guard lock(mutex_);
    pipes = pipes_;
    std::erase_if(pipes_, [](const auto& pipe) { return pipe->channel_gone(); });
  }
  for (const auto& pipe : pipes) {
    for (CallPtr& call : pipe->TakeRequests()) {
      auto exchange = std::make_unique<LoopbackExchange>(*this, pipe, std::move(call));
      exchanges_.push_back(exchange.get());
      ++progress_;
      service_.OnCall(std::move(exchange));
    }
  }
}

void LoopbackServer::TellAbandoned(TimePoint now) {
  const std::vector<LoopbackExchange*> all = exchanges_;
  for (LoopbackExchange* exchange : all) {
    if (!IsLive(exchange) || exchange->answered_ || exchange->abandoned_) continue;
    if (exchange->call_->deadline <= now) {
      exchange->pipe_->End(exchange->call_, Code::kDeadlineExceeded, {});
    }
    if (!exchange->pipe_->HasEnded(*exchange->call_)) continue;
    exchange->abandoned_ = true;
    exchange->answered_ = true;
    for (auto& piece : exchange->pieces_) {
      if (piece.refused == Code::kOk) piece.refused = Code::kCancelled;
    }
    ++progress_;
    if (!exchange->finished_) service_.OnAbandoned(*exchange);
  }
}

void LoopbackServer::MovePieces(LoopbackExchange& exchange) {
  // Those that the service adds meanwhile wait for the next poll.
  for (std::size_t left = exchange.pieces_.size(); left > 0; --left) {
    LoopbackExchange::Piece& piece = exchange.pieces_.front();
    Code code = piece.refused;
    if (code == Code::kOk) {
      const Pipe::Moved moved =
          piece.receives
              ? exchange.pipe_->Receive(*exchange.call_, piece.offset, piece.into)
              : exchange.pipe_->Send(*exchange.call_, piece.number, piece.offset, piece.from);
      if (moved == Pipe::Moved::kNoRoom) return;
      if (moved == Pipe::Moved::kEnded) code = Code::kCancelled;
      if (moved == Pipe::Moved::kLost) code = Code::kUnavailable;
    }
    const std::uint32_t number = piece.number;
    exchange.pieces_.pop_front();
    exchange.EndIfDue();
    ++progress_;
    service_.OnMoved(exchange, number, code);
    if (!IsLive(&exchange)) return;
  }
}

}  // namespace kdn::transport::loopback
