#include "client/remote/remote_calls.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <system_error>
#include <utility>

#include "transport/shm/shared_memory.h"

namespace kdn::client {
namespace {

constexpr std::chrono::milliseconds kPauseMin{50};
constexpr std::chrono::milliseconds kPauseMax{1000};
// How long a peer that failed a call is the last choice.
constexpr std::chrono::milliseconds kAvoidFor{1000};

class SharedBulkMemory final : public BulkMemory {
 public:
  explicit SharedBulkMemory(transport::shm::SharedMemory memory) : memory_(std::move(memory)) {}
  [[nodiscard]] MutableBytes bytes() const override { return memory_.bytes(); }

 private:
  transport::shm::SharedMemory memory_;
};

bool Watch(int epoll_fd, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Drain(int fd) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t drained = read(fd, &count, sizeof(count));
}

}  // namespace

Result<std::unique_ptr<RemoteCalls>> RemoteCalls::Make(std::unique_ptr<transport::Domain> domain,
                                                       transport::Identity identity,
                                                       std::string coordinator, const Clock& clock,
                                                       Log& log, bool shares_memory) {
  std::unique_ptr<RemoteCalls> calls(new RemoteCalls(
      std::move(domain), std::move(identity), std::move(coordinator), clock, log, shares_memory));
  if (Status status = calls->OpenDescriptors(); !status.ok()) return std::unexpected(status);
  try {
    calls->connector_ =
        std::make_unique<Connector>(*calls->domain_, calls->identity_, clock, calls->wake_fd_);
  } catch (const std::system_error&) {
    return Error(Code::kResourceExhausted, "cannot start the client's connector threads");
  }
  calls->Connect(calls->coordinator_, calls->peers_[calls->coordinator_]);
  return calls;
}

RemoteCalls::RemoteCalls(std::unique_ptr<transport::Domain> domain, transport::Identity identity,
                         std::string coordinator, const Clock& clock, Log& log, bool shares_memory)
    : clock_(clock),
      log_(log),
      coordinator_(std::move(coordinator)),
      shares_memory_(shares_memory),
      domain_(std::move(domain)),
      identity_(std::move(identity)) {}

Status RemoteCalls::OpenDescriptors() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (epoll_fd_ < 0 || wake_fd_ < 0 || timer_fd_ < 0 || !Watch(epoll_fd_, wake_fd_) ||
      !Watch(epoll_fd_, timer_fd_)) {
    return Status(Code::kResourceExhausted, "no file descriptors left for the client");
  }
  return {};
}

RemoteCalls::~RemoteCalls() {
  connector_.reset();
  dropped_.clear();
  peers_.clear();  // the channels first: after them no bulk memory is touched
  while (!calls_.empty()) End(calls_.begin()->first, Code::kCancelled, {});
  if (!memory_.empty()) {
    [[maybe_unused]] const Status status = domain_->Unregister(memory_.data());
  }
  for (const int fd : {timer_fd_, wake_fd_, epoll_fd_}) {
    if (fd >= 0) close(fd);
  }
}

Result<std::unique_ptr<BulkMemory>> RemoteCalls::MakeMemory(std::size_t size_bytes) {
  std::unique_ptr<BulkMemory> memory;
  transport::MemoryRegion region;
  if (shares_memory_) {
    // Where it cannot be had, bulk goes through sockets.
    if (auto shared = transport::shm::SharedMemory::Make(size_bytes)) {
      region = shared->region();
      memory = std::make_unique<SharedBulkMemory>(*std::move(shared));
    }
  }
  if (memory == nullptr) {
    KDN_ASSIGN_OR_RETURN(memory, MapPrivateMemory(size_bytes));
    region.address = memory->bytes().data();
    region.size_bytes = memory->bytes().size();
  }
  if (Status status = domain_->Register(region); !status.ok()) return std::unexpected(status);
  memory_ = memory->bytes();
  return memory;
}

// -- Peers -------------------------------------------------------------------------------------

void RemoteCalls::Connect(const std::string& endpoint, Peer& peer) {
  peer.state = PeerState::kConnecting;
  connector_->Connect(endpoint);
}

void RemoteCalls::TakeOutcome(Connector::Outcome outcome) {
  Peer& peer = peers_[outcome.endpoint];
  if (outcome.channel) {
    peer.state = PeerState::kUp;
    peer.pause = {};
    peer.channel = std::move(outcome.channel);
    peer.bytes_heard = 0;
    peer.heard_at = clock_.Now();
    Watch(epoll_fd_, peer.channel->WaitFd());
    if (outcome.endpoint == coordinator_) connected_.store(true);
    SubmitWaiting(outcome.endpoint, peer);
    return;
  }
  log_.Write(LogLevel::kWarning, "cannot connect",
             {{"endpoint", outcome.endpoint}, {"error", outcome.status.ToString()}});
  DropChannel(outcome.endpoint, peer);
}

void RemoteCalls::DropChannel(const std::string& endpoint, Peer& peer) {
  peer.state = PeerState::kDown;
  peer.pause = std::clamp<Duration>(peer.pause * 2, kPauseMin, kPauseMax);
  peer.retry_at = clock_.Now() + peer.pause;
  peer.avoid_until = clock_.Now() + kAvoidFor;
  if (peer.channel) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, peer.channel->WaitFd(), nullptr);
    dropped_.push_back(std::move(peer.channel));
    Wake();
  }
  if (endpoint == coordinator_) connected_.store(false);
  for (const CallId id : std::exchange(peer.waiting, {})) EndLater(id, Code::kUnavailable);
  for (const auto& [id, pending] : calls_) {
    if (pending.submitted && pending.endpoint == endpoint) EndLater(id, Code::kUnavailable);
  }
}

bool RemoteCalls::Avoid(const CallTarget& target) const {
  const auto it = peers_.find(target.endpoint);
  return it != peers_.end() &&
         (it->second.state == PeerState::kDown || clock_.Now() < it->second.avoid_until);
}

TimePoint RemoteCalls::LastHeard(const CallTarget& target) const {
  const auto it = peers_.find(target.endpoint);
  return it == peers_.end() ? TimePoint{} : it->second.heard_at;
}

// -- Calls -------------------------------------------------------------------------------------

CallId RemoteCalls::Start(CallRequest request) {
  const CallId id{next_id_++};
  const std::string endpoint =
      request.target.IsCoordinator() ? coordinator_ : request.target.endpoint;
  const TimePoint deadline = request.deadline;
  const bool insist = request.insist;
  calls_.emplace(id, Pending{std::move(request), endpoint, false});
  if (endpoint.empty()) {
    EndLater(id, Code::kUnavailable);
    return id;
  }
  Peer& peer = peers_[endpoint];
  if (peer.state == PeerState::kDown) {
    if (clock_.Now() < peer.retry_at && !insist) {
      EndLater(id, Code::kUnavailable);
      return id;
    }
    Connect(endpoint, peer);
  }
  peer.waiting.push_back(id);
  deadlines_.emplace(deadline, id);
  ArmTimer();
  SubmitWaiting(endpoint, peer);
  return id;
}

void RemoteCalls::SubmitWaiting(const std::string& endpoint, Peer& peer) {
  // Not while it is being connected again, as it is if a callback has found its channel gone.
  while (peer.state == PeerState::kUp && !peer.waiting.empty()) {
    const CallId id = peer.waiting.front();
    const auto it = calls_.find(id);
    if (it == calls_.end()) {  // it has ended while it waited
      peer.waiting.pop_front();
      continue;
    }
    Pending& pending = it->second;
    transport::Call call;
    call.tag = static_cast<std::uint64_t>(id);
    call.request = pending.request.request;
    call.send_bulk = pending.request.send_bulk;
    call.receive_bulk = pending.request.window;
    call.deadline = pending.request.deadline;
    const Status status = peer.channel->Submit(call);
    if (status.code() == Code::kResourceExhausted) return;  // its queue is full: Poll() goes on
    if (status.code() == Code::kUnavailable) {
      // All its connections are gone, perhaps since long: the peer may well be back by now, and
      // what waits has not been sent to anybody.
      const std::deque<CallId> waiting = std::exchange(peer.waiting, {});
      DropChannel(endpoint, peer);
      peer.waiting = waiting;
      Connect(endpoint, peer);
      return;
    }
    peer.waiting.pop_front();
    if (status.ok()) {
      pending.submitted = true;
    } else {
      EndLater(id, status.code());
    }
  }
}

void RemoteCalls::Cancel(CallId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  const auto peer = peers_.find(it->second.endpoint);
  if (!it->second.submitted) {
    // It must not be sent between now and its end: its window is another call's soon.
    if (peer != peers_.end()) std::erase(peer->second.waiting, id);
    EndLater(id, Code::kCancelled);
    return;
  }
  if (peer->second.channel) peer->second.channel->Cancel(static_cast<std::uint64_t>(id));
}

void RemoteCalls::End(CallId id, Code code, ConstBytes response) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  const auto done = std::move(it->second.request.done);
  calls_.erase(it);
  done(code, response);
}

void RemoteCalls::EndLater(CallId id, Code code) {
  ended_.emplace_back(id, code);
  Wake();
}

// -- The loop's turn ---------------------------------------------------------------------------

bool RemoteCalls::Poll() {
  Drain(wake_fd_);
  Drain(timer_fd_);
  bool busy = false;
  for (Connector::Outcome& outcome : connector_->TakeOutcomes()) {
    TakeOutcome(std::move(outcome));
    busy = true;
  }
  for (auto& [endpoint, peer] : peers_) {
    if (peer.state == PeerState::kUp) busy |= PollChannel(endpoint, peer);
  }
  Peer& coordinator = peers_[coordinator_];
  if (coordinator.state == PeerState::kDown && clock_.Now() >= coordinator.retry_at) {
    Connect(coordinator_, coordinator);
  }
  busy |= EndOverdue();
  dropped_.clear();
  for (const auto& [id, code] : std::exchange(ended_, {})) {
    End(id, code, {});
    busy = true;
  }
  ArmTimer();
  return busy;
}

bool RemoteCalls::PollChannel(const std::string& endpoint, Peer& peer) {
  std::array<transport::Event, 64> events;
  const std::size_t count = peer.channel->Poll(events);
  if (const std::uint64_t bytes = peer.channel->BytesReceived(); bytes != peer.bytes_heard) {
    peer.bytes_heard = bytes;
    peer.heard_at = clock_.Now();
  }
  for (std::size_t i = 0; i < count; ++i) {
    const transport::Event& event = events[i];
    const auto it = calls_.find(CallId{event.tag});
    if (it == calls_.end()) continue;
    if (event.kind == transport::EventKind::kDone) {
      OnDone(endpoint, event);
    } else if (it->second.request.piece) {
      it->second.request.piece(event.offset, event.size_bytes);
    }
  }
  SubmitWaiting(endpoint, peer);
  return count > 0;
}

void RemoteCalls::OnDone(const std::string& endpoint, const transport::Event& event) {
  Peer& peer = peers_[endpoint];
  if (event.code == Code::kUnavailable || event.code == Code::kDeadlineExceeded) {
    peer.avoid_until = clock_.Now() + kAvoidFor;
  }
  End(CallId{event.tag}, event.code, event.response);
}

// Ends calls that still wait for a connection or for room; those submitted are the channel's to
// end.
bool RemoteCalls::EndOverdue() {
  bool any = false;
  const TimePoint now = clock_.Now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const CallId id = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    const auto it = calls_.find(id);
    if (it == calls_.end() || it->second.submitted) continue;
    End(id, Code::kDeadlineExceeded, {});
    any = true;
  }
  return any;
}

void RemoteCalls::Wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
}

void RemoteCalls::ArmTimer() {
  while (!deadlines_.empty()) {
    const auto it = calls_.find(deadlines_.begin()->second);
    if (it != calls_.end() && !it->second.submitted) break;
    deadlines_.erase(deadlines_.begin());
  }
  if (deadlines_.empty()) return;
  const auto left = std::max(deadlines_.begin()->first - clock_.Now(),
                             std::chrono::duration_cast<Duration>(std::chrono::microseconds(1)));
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
  itimerspec when{};
  when.it_value.tv_sec = ns / 1'000'000'000;
  when.it_value.tv_nsec = ns % 1'000'000'000;
  timerfd_settime(timer_fd_, 0, &when, nullptr);
}

}  // namespace kdn::client
