#include "transport/lanes/mover.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <system_error>

namespace kdn::transport::lanes {
namespace {

constexpr std::size_t kReadyMax = 32;

}  // namespace

Result<std::unique_ptr<Mover>> Mover::Start(const Clock& clock, std::chrono::microseconds spin) {
  std::unique_ptr<Mover> mover(new Mover(clock, spin));
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (!mover->epoll_.valid() ||
      epoll_ctl(mover->epoll_.get(), EPOLL_CTL_ADD, mover->wake_.fd(), &event) != 0) {
    return Error(Code::kResourceExhausted, "no file descriptors left for a moving thread");
  }
  try {
    mover->thread_ = std::thread([raw = mover.get()] { raw->Run(); });
  } catch (const std::system_error&) {
    return Error(Code::kResourceExhausted, "cannot start a thread that moves bulk");
  }
  return mover;
}

Mover::Mover(const Clock& clock, std::chrono::microseconds spin)
    : clock_(clock), spin_(spin), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  ready_.reserve(kReadyMax);
}

Mover::~Mover() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.Raise();
  thread_.join();
}

Status Mover::Add(Lane& lane) {
  const std::lock_guard lock(mutex_);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &lane}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, lane.WaitFd(), &event) != 0) {
    return Status(Code::kResourceExhausted, "cannot watch a channel's descriptor");
  }
  lanes_.push_back({&lane, true});
  return Status();
}

void Mover::Remove(Lane& lane) {
  const std::lock_guard lock(mutex_);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, lane.WaitFd(), nullptr);
  std::erase_if(lanes_, [&](const Entry& entry) { return entry.lane == &lane; });
}

void Mover::Wake() {
  if (asleep_.exchange(false)) wake_.Raise();
}

void Mover::Run() {
  std::array<epoll_event, kReadyMax> ready;
  TimePoint spin_until = TimePoint::min();
  int timeout_ms = -1;
  for (;;) {
    const int count =
        epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), timeout_ms);
    asleep_.store(false);
    ready_.clear();
    for (int i = 0; i < count; ++i) {
      auto* lane = static_cast<Lane*>(ready[static_cast<std::size_t>(i)].data.ptr);
      if (lane == nullptr) wake_.Clear();
      if (lane != nullptr) ready_.push_back(lane);
    }
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    bool busy = false;
    for (Entry& entry : lanes_) {
      // One that was removed meanwhile is not in the list any more.
      const bool is_ready = std::ranges::find(ready_, entry.lane) != ready_.end();
      if (is_ready || entry.lane->HasWork()) busy |= Turn(entry);
    }
    if (spin_.count() > 0) {
      const TimePoint now = clock_.Now();
      if (busy) spin_until = now + spin_;
      timeout_ms = now < spin_until ? 0 : -1;
    }
    if (timeout_ms == 0) continue;
    asleep_.store(true);
    // An owner tells this thread only when it sleeps: what was said before that is seen here.
    if (AnyWork()) Wake();
  }
}

bool Mover::Turn(Entry& entry) {
  const bool busy = entry.lane->Turn();
  // A lane with no room for events would be ready again at once, and no turn could help it.
  const bool wanted = !entry.lane->full();
  if (wanted != entry.watched) {
    entry.watched = wanted;
    epoll_event event{.events = wanted ? EPOLLIN : 0U, .data = {.ptr = entry.lane}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, entry.lane->WaitFd(), &event);
  }
  return busy;
}

bool Mover::AnyWork() const {
  return std::ranges::any_of(lanes_, [](const Entry& entry) { return entry.lane->HasWork(); });
}

}  // namespace kdn::transport::lanes
