#include "transport/tcp/tcp_server.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace kdn::transport::tcp {
namespace {

// Connections accepted in one poll, so that a flood of them does not starve calls.
constexpr int kAcceptsPerPoll = 64;
// Calls are looked through for their deadlines at most this often.
constexpr std::chrono::milliseconds kExpiryGranularity{1};
// Turns of sending and telling the service in one poll; it may answer each piece with another.
constexpr int kTurnsPerPoll = 4;

}  // namespace

TcpServer::TcpServer(Fd listener, const ServerSetup& setup)
    : setup_(setup),
      endpoint_(LocalAddress(listener.get()).ToString()),
      zeros_(kSliceBytesMax),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      listener_(std::move(listener)) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &timer_}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.fd(), &event);
  ListenForOffers();
  ResumeAccepting();
}

void TcpServer::ListenForOffers() {
  if (setup_.mappings == nullptr) return;
  auto acceptor = shm::Acceptor::Listen(setup_.nonces->NextNonce(), *setup_.shared_memory,
                                        *setup_.mappings, *setup_.clock, *setup_.log);
  if (!acceptor) {
    setup_.log->Write(LogLevel::kWarning, "no memory is shared with clients of this host",
                      {{"why", acceptor.error().ToString()}});
    return;
  }
  acceptor_ = *std::move(acceptor);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = acceptor_.get()}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, acceptor_->fd(), &event);
}

bool TcpServer::TakeOffer(std::span<const Nonce> tickets,
                          std::shared_ptr<const shm::OfferedMemory> memory) {
  std::vector<ServerConnection*> invited;
  const Peer* peer = nullptr;
  for (const Nonce& ticket : tickets) {
    const auto found = std::find_if(connections_.begin(), connections_.end(), [&](const auto& one) {
      return one->Invited(ticket) != nullptr;
    });
    if (found == connections_.end()) return false;
    invited.push_back(found->get());
    const Peer* of = (*found)->Invited(ticket);
    if (peer != nullptr && (of->id != peer->id || of->tenant != peer->tenant)) return false;
    peer = of;
  }
  for (std::size_t i = 0; i < invited.size(); ++i) {
    invited[i]->UseShared(memory, static_cast<std::uint32_t>(i));
  }
  return true;
}

TcpServer::~TcpServer() {
  polling_ = true;
  for (auto& connection : connections_) {
    connection->SayGoodbye();
    connection->Break();
  }
  closing_ = true;
  TellMoved();
  for (ServerCall* call : calls_) {
    if (call->held()) {
      call->Orphan();
    } else {
      ServerCall::Destroy(call);
    }
  }
}

std::size_t TcpServer::Poll() {
  polling_ = true;
  progress_ = 0;
  PollSockets();
  for (int turn = 0; turn < kTurnsPerPoll && !(dirty_.empty() && moved_.empty()); ++turn) {
    FlushDirty();
    TellMoved();
  }
  if (setup_.clock->Now() >= next_deadline_) Expire();
  Reap();
  polling_ = false;
  if (!dirty_.empty() || !moved_.empty()) timer_.WakeNow();
  return progress_;
}

void TcpServer::PollSockets() {
  std::array<epoll_event, 64> ready;
  const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready[static_cast<std::size_t>(i)];
    if (event.data.ptr == &listener_) {
      Accept();
    } else if (event.data.ptr == acceptor_.get()) {
      acceptor_->Poll(*this);
    } else if (event.data.ptr == &timer_) {
      timer_.Clear();
      if (next_deadline_ != TimePoint::max()) timer_.WakeAt(next_deadline_, setup_.clock->Now());
    } else {
      auto& connection = *static_cast<ServerConnection*>(event.data.ptr);
      // A dead peer is found out by sending, also where nothing is being read.
      if ((event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        connection.OnWritable();
        AddDirty(connection);
      }
      if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) connection.Read();
      Watch(connection);
      ++progress_;
    }
  }
}

void TcpServer::Accept() {
  for (int i = 0; i < kAcceptsPerPoll; ++i) {
    Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE) PauseAccepting();
      return;
    }
    ++progress_;
    if (connections_.size() >= setup_.connections_max) {
      setup_.log->Write(LogLevel::kWarning, "too many connections",
                        {{"peer", RemoteAddress(fd.get()).ToString()}});
      continue;
    }
    if (!Tune(fd.get(), setup_.socket_options).ok()) continue;
    std::optional<ShareInvite> invite;
    if (acceptor_ != nullptr) invite = acceptor_->Invite(setup_.nonces->NextNonce());
    auto hello = std::make_unique<HelloServer>(setup_.policy, setup_.nonces->NextNonce(),
                                               RemoteAddress(fd.get()).IsLoopback(), invite);
    const TimePoint due = setup_.clock->Now() + kHelloTimeout;
    connections_.push_back(std::make_unique<ServerConnection>(std::move(fd), std::move(hello), due,
                                                              *this, zeros_.data()));
    ServerConnection& connection = *connections_.back();
    connection.registered = EPOLLIN;
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &connection}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd(), &event);
    NoteDeadline(due);
  }
}

// Who waits to be accepted would otherwise wake every poll, with no descriptor to give to it.
void TcpServer::PauseAccepting() {
  accepting_ = false;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  setup_.log->Write(LogLevel::kError, "out of file descriptors", {{"endpoint", endpoint_}});
}

void TcpServer::ResumeAccepting() {
  accepting_ = true;
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &listener_}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
}

void TcpServer::Watch(ServerConnection& connection) {
  if (!connection.alive()) {
    any_closed_ = true;
    return;
  }
  const std::uint32_t wanted =
      (connection.wants_read() ? EPOLLIN : 0U) | (connection.wants_write() ? EPOLLOUT : 0U);
  if (wanted == connection.registered) return;
  connection.registered = wanted;
  epoll_event event{.events = wanted, .data = {.ptr = &connection}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd(), &event);
}

void TcpServer::FlushDirty() {
  std::swap(dirty_, flushing_);
  for (ServerConnection* connection : flushing_) {
    connection->dirty = false;
    connection->Flush();
    NoteDeadline(connection->send_deadline());
    Watch(*connection);
  }
  flushing_.clear();
}

void TcpServer::TellArrived(ServerCall& call, std::uint32_t piece, std::size_t size_bytes) {
  setup_.service->OnArrived(call, piece, size_bytes);
}

void TcpServer::TellMoved() {
  std::swap(moved_, telling_);
  for (const Moved& moved : telling_) {
    if (moved.call->TakeMoved()) {
      ++progress_;
      setup_.service->OnMoved(*moved.call, moved.piece, moved.code);
    } else {
      moved.call->MaybeRecycle();
    }
  }
  telling_.clear();
}

void TcpServer::Expire() {
  const TimePoint now = setup_.clock->Now();
  TimePoint next = TimePoint::max();
  for (auto& connection : connections_) {
    if (!connection->ready() && connection->alive()) {
      if (connection->hello_deadline() <= now) connection->Break();
      if (connection->alive()) next = std::min(next, connection->hello_deadline());
    } else {
      next = std::min(next, connection->Expire(now));
    }
    Watch(*connection);
  }
  next_deadline_ = TimePoint::max();
  timer_.Clear();
  if (next != TimePoint::max()) NoteDeadline(std::max(next, now + kExpiryGranularity));
}

void TcpServer::NoteDeadline(TimePoint deadline) {
  if (deadline >= next_deadline_) return;
  next_deadline_ = deadline;
  timer_.WakeAt(deadline, setup_.clock->Now());
}

void TcpServer::Reap() {
  if (!std::exchange(any_closed_, false)) return;
  std::erase_if(dirty_, [](const ServerConnection* connection) { return !connection->alive(); });
  std::erase_if(connections_, [this](const auto& connection) {
    if (connection->alive()) return false;
    if (!connection->refusal().ok()) {
      setup_.log->Write(LogLevel::kWarning, "hello refused",
                        {{"why", connection->refusal().ToString()}});
    }
    return true;
  });
  if (!accepting_) ResumeAccepting();
}

ServerCall& TcpServer::NewCall() {
  if (free_calls_.empty()) {
    calls_.push_back(new ServerCall(*this));
    return *calls_.back();
  }
  ServerCall* call = free_calls_.back();
  free_calls_.pop_back();
  return *call;
}

void TcpServer::Recycle(ServerCall& call) {
  free_calls_.push_back(&call);
}

void TcpServer::Deliver(ServerCall& call) {
  ++progress_;
  NoteDeadline(call.deadline());
  call.HandOver();
  setup_.service->OnCall(std::unique_ptr<Exchange>(&call));
}

void TcpServer::TellAbandoned(ServerCall& call) {
  ++progress_;
  setup_.service->OnAbandoned(call);
}

void TcpServer::AddMoved(ServerCall& call, std::uint32_t piece, Code code) {
  if (closing_) return;
  moved_.push_back({&call, piece, code});
  if (!polling_) timer_.WakeNow();
}

void TcpServer::AddDirty(ServerConnection& connection) {
  if (connection.dirty) return;
  connection.dirty = true;
  dirty_.push_back(&connection);
  if (!polling_) timer_.WakeNow();
}

}  // namespace kdn::transport::tcp
