#include "transport/wakeup.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace kdn::transport {

void Fd::Close() {
  if (number_ >= 0) close(number_);
  number_ = -1;
}

WakeTimer::WakeTimer() : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {}

void WakeTimer::Set(Duration in) {
  // A time of zero would disarm it.
  const auto ns =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::nanoseconds>(in).count());
  itimerspec spec{};
  spec.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  spec.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  timerfd_settime(fd_.get(), 0, &spec, nullptr);
}

void WakeTimer::WakeAt(TimePoint at, TimePoint now) {
  if (at >= at_) return;
  at_ = at;
  Set(at - now);
}

void WakeTimer::WakeNow() {
  if (at_ == TimePoint::min()) return;
  at_ = TimePoint::min();
  Set(Duration(1));
}

void WakeTimer::Clear() {
  if (at_ == TimePoint::max()) return;
  at_ = TimePoint::max();
  itimerspec spec{};
  timerfd_settime(fd_.get(), 0, &spec, nullptr);
}

Signal::Signal() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

void Signal::Raise() {
  const std::uint64_t one = 1;
  // It can fail only where 2^64 raises are pending, and then it is readable.
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
}

void Signal::Clear() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(fd_.get(), &count, sizeof(count));
}

}  // namespace kdn::transport
