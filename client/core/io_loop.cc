#include "client/core/io_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <system_error>
#include <utility>

namespace kdn::client {
namespace {

constexpr std::chrono::milliseconds kWaitMax{100};

}  // namespace

Result<std::unique_ptr<IoLoop>> IoLoop::Start(std::unique_ptr<Calls> calls, const Clock& clock,
                                              std::chrono::microseconds spin) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::unique_ptr<IoLoop> loop(new IoLoop(std::move(calls), clock, spin, epoll_fd, wake_fd));
  if (epoll_fd < 0 || wake_fd < 0) {
    return Error(Code::kResourceExhausted, "no file descriptors left for the client's I/O thread");
  }
  for (const int fd : {wake_fd, loop->calls_->WaitFd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
      return Error(Code::kResourceExhausted, "cannot watch the client's descriptors");
    }
  }
  try {
    loop->thread_ = std::thread([raw = loop.get()] { raw->Run(); });
  } catch (const std::system_error&) {
    return Error(Code::kResourceExhausted, "cannot start the client's I/O thread");
  }
  return loop;
}

IoLoop::IoLoop(std::unique_ptr<Calls> calls, const Clock& clock, std::chrono::microseconds spin,
               int epoll_fd, int wake_fd)
    : calls_(std::move(calls)),
      clock_(clock),
      spin_(spin),
      epoll_fd_(epoll_fd),
      wake_fd_(wake_fd) {}

void IoLoop::Stop() {
  if (!thread_.joinable()) return;
  Post([this] {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  });
  thread_.join();
}

IoLoop::~IoLoop() {
  Stop();
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

void IoLoop::Post(Work work) {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    if (stopped_) return;
    wake = posted_.empty();
    posted_.push_back(std::move(work));
  }
  if (wake) {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the thread is awake anyway.
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  }
}

void IoLoop::At(TimePoint when, Work work) {
  timers_.emplace(when, std::move(work));
}

bool IoLoop::RunPosted() {
  std::vector<Work> taken;
  {
    const std::scoped_lock lock(mutex_);
    taken.swap(posted_);
  }
  for (Work& work : taken) work();
  return !taken.empty();
}

bool IoLoop::RunTimers() {
  bool any = false;
  while (!timers_.empty() && timers_.begin()->first <= clock_.Now()) {
    Work work = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    work();
    any = true;
  }
  return any;
}

void IoLoop::Wait() {
  auto wait = std::chrono::duration_cast<Duration>(kWaitMax);
  if (!timers_.empty()) {
    wait = std::clamp(timers_.begin()->first - clock_.Now(), Duration::zero(), wait);
  }
  // Rounded up: a timer must be due when the wait for it is over.
  const auto wait_ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  std::array<epoll_event, 4> events;
  epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), static_cast<int>(wait_ms));
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t drained = read(wake_fd_, &count, sizeof(count));
}

void IoLoop::Run() {
  TimePoint spin_until{};
  for (;;) {
    bool busy = RunPosted();
    busy |= calls_->Poll();
    busy |= RunTimers();
    {
      const std::scoped_lock lock(mutex_);
      if (stopping_) break;
    }
    if (spin_.count() > 0) {
      const TimePoint now = clock_.Now();
      if (busy) spin_until = now + spin_;
      busy = now < spin_until;
    }
    if (!busy) Wait();
  }
  // Calls under way end with kCancelled; what their callbacks post is run before the thread ends.
  calls_.reset();
  while (RunPosted()) {
  }
  // What is left holds operations, and they hold this loop: dropped here, or it would never go.
  timers_.clear();
  std::vector<Work> dropped;
  const std::scoped_lock lock(mutex_);
  stopped_ = true;
  dropped.swap(posted_);
}

}  // namespace kdn::client
