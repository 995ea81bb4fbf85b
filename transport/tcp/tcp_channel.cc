#include "transport/tcp/tcp_channel.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

namespace kdn::transport::tcp {
namespace {

// How often a server is looked at that is still writing to a call that has ended.
constexpr std::chrono::microseconds kSettleInterval{200};

std::uint64_t RemainingMicroseconds(TimePoint deadline, TimePoint now) {
  if (deadline <= now) return 0;
  return static_cast<std::uint64_t>(
      std::chrono::ceil<std::chrono::microseconds>(deadline - now).count());
}

}  // namespace

TcpChannel::TcpChannel(std::vector<Fd> sockets, std::uint32_t queue_depth,
                       const RegionTable& regions, const Clock& clock,
                       std::unique_ptr<shm::ClientShare> share)
    : clock_(clock),
      regions_(regions),
      share_(std::move(share)),
      calls_(queue_depth, share_.get()),
      zeros_(kSliceBytesMax),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.fd(), &event);
  for (Fd& fd : sockets) {
    const auto number = static_cast<std::uint32_t>(connections_.size());
    connections_.push_back(
        std::make_unique<ClientConnection>(std::move(fd), number, calls_, zeros_.data()));
    ClientConnection& connection = *connections_.back();
    connection.registered = EPOLLIN;
    event = {.events = EPOLLIN, .data = {.ptr = &connection}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd(), &event);
  }
}

TcpChannel::~TcpChannel() {
  // Regions are unpinned only by calls that end.
  for (auto& connection : connections_) connection->Break();
  calls_.SettleAll();
}

ClientConnection* TcpChannel::LeastLoaded() {
  ClientConnection* best = nullptr;
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    ClientConnection* candidate = connections_[(next_connection_ + i) % connections_.size()].get();
    if (!candidate->HasSlot()) continue;
    if (best == nullptr || candidate->open_calls() < best->open_calls()) best = candidate;
  }
  next_connection_ = (next_connection_ + 1) % connections_.size();
  return best;
}

Status TcpChannel::Fill(ClientCall& to, const Call& from) {
  to.tag = from.tag;
  to.send_bulk_bytes = 0;
  for (const ConstBytes bytes : from.send_bulk) {
    if (bytes.empty()) continue;
    KDN_RETURN_IF_ERROR(regions_.Pin(bytes, to.pins));
    to.send_bulk.push_back(bytes);
    to.send_bulk_bytes += bytes.size();
  }
  if (!from.receive_bulk.empty()) {
    KDN_RETURN_IF_ERROR(regions_.Pin(from.receive_bulk, to.pins));
    to.window = from.receive_bulk;
  }
  if (from.request.size() > limits::kRequestBytesMax ||
      to.send_bulk_bytes > limits::kBulkBytesMax || to.window.size() > limits::kBulkBytesMax) {
    return Status(Code::kInvalidArgument, "the call is larger than the protocol allows");
  }
  to.request.Assign(from.request);
  if (share_ != nullptr) Lend(to);
  return Status();
}

bool TcpChannel::Alive() const {
  return std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& connection) { return connection->alive(); });
}

void TcpChannel::Lend(ClientCall& call) {
  if (call.pins.size() != 1 || call.window.empty() == call.send_bulk.empty()) return;
  const bool is_window = !call.window.empty();
  ConstBytes run = is_window ? ConstBytes(call.window) : call.send_bulk.front();
  for (std::size_t i = 1; i < call.send_bulk.size(); ++i) {
    if (call.send_bulk[i].data() != run.data() + run.size()) return;
    run = {run.data(), run.size() + call.send_bulk[i].size()};
  }
  call.loan = share_->Lend(*call.pins.front(), run, is_window);
}

Status TcpChannel::Submit(const Call& call) {
  if (!Alive()) return Status(Code::kUnavailable);
  ClientConnection* connection = LeastLoaded();
  ClientCall* open = connection == nullptr ? nullptr : calls_.Open();
  if (open == nullptr) return Status(Code::kResourceExhausted);
  if (Status filled = Fill(*open, call); !filled.ok()) {
    calls_.Forget(open);
    return filled;
  }
  const TimePoint now = clock_.Now();
  open->deadline = std::min(call.deadline, now + kCallTimeMax);
  connection->Start(*open, RemainingMicroseconds(open->deadline, now));
  if (!connection->wants_write()) connection->Flush();
  Watch(*connection);
  if (open->deadline < next_deadline_) {
    next_deadline_ = open->deadline;
    timer_.WakeAt(next_deadline_, now);
  }
  if (calls_.HasEvents()) timer_.WakeNow();
  return Status();
}

void TcpChannel::Cancel(std::uint64_t tag) {
  ClientCall* call = calls_.FindByTag(tag);
  if (call == nullptr) return;
  ClientConnection& connection = *call->connection;
  connection.Stop(*call, Code::kCancelled);
  if (!connection.wants_write()) connection.Flush();
  Watch(connection);
  timer_.WakeNow();
}

std::size_t TcpChannel::Poll(std::span<Event> events) {
  calls_.BeginPoll();
  std::size_t count = calls_.Deliver(events);
  if (count == events.size()) {
    if (calls_.HasEvents()) timer_.WakeNow();
    return count;
  }
  PollSockets();
  const TimePoint now = clock_.Now();
  if (now >= next_deadline_) ExpireCalls(now);
  if (calls_.Settle(now)) timer_.WakeAt(now + kSettleInterval, now);
  count += calls_.Deliver(events.subspan(count));
  if (calls_.HasEvents()) timer_.WakeNow();
  return count;
}

std::uint64_t TcpChannel::BytesReceived() const {
  std::uint64_t total = 0;
  for (const auto& connection : connections_) total += connection->bytes_received();
  return total;
}

void TcpChannel::PollSockets() {
  std::array<epoll_event, 16> ready;
  const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready[static_cast<std::size_t>(i)];
    if (event.data.ptr == nullptr) {
      timer_.Clear();
      if (next_deadline_ != TimePoint::max()) timer_.WakeAt(next_deadline_, clock_.Now());
      continue;
    }
    auto& connection = *static_cast<ClientConnection*>(event.data.ptr);
    if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) connection.Read();
    connection.Flush();
    Watch(connection);
  }
  for (auto& connection : connections_) {
    if (!connection->stalled()) continue;
    // Its events have been delivered meanwhile.
    connection->Read();
    connection->Flush();
    Watch(*connection);
  }
}

void TcpChannel::ExpireCalls(TimePoint now) {
  next_deadline_ = TimePoint::max();
  // Backwards: ending a call moves the last one into its place. Saying so may find the connection
  // broken, which ends all of its calls.
  for (std::size_t i = calls_.active().size(); i > 0; --i) {
    if (i > calls_.active().size()) continue;
    ClientCall* call = calls_.active()[i - 1];
    if (call->deadline > now) {
      next_deadline_ = std::min(next_deadline_, call->deadline);
      continue;
    }
    ClientConnection& connection = *call->connection;
    connection.Stop(*call, Code::kDeadlineExceeded);
    connection.NoteOverdue(now);
    if (!connection.wants_write()) connection.Flush();
    Watch(connection);
  }
  for (auto& connection : connections_) {
    if (connection->IsSilent(now)) connection->Break();
  }
  timer_.Clear();
  if (next_deadline_ != TimePoint::max()) timer_.WakeAt(next_deadline_, now);
}

void TcpChannel::Watch(ClientConnection& connection) {
  if (!connection.alive()) return;  // closing took it out of the set
  const std::uint32_t wanted =
      (connection.wants_read() ? EPOLLIN : 0U) | (connection.wants_write() ? EPOLLOUT : 0U);
  if (wanted == connection.registered) return;
  connection.registered = wanted;
  epoll_event event{.events = wanted, .data = {.ptr = &connection}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd(), &event);
}

}  // namespace kdn::transport::tcp
