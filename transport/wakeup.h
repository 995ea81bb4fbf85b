// File descriptors that close themselves, and what makes a poller's descriptor readable: a timer
// for its own thread, a signal for others.
//
// Thread-safety: a Signal is safe; the rest is not, caller synchronises.
#pragma once

#include <utility>

#include "base/clock.h"

namespace kdn::transport {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Fd() { Close(); }

  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] bool valid() const { return number_ >= 0; }
  void Close();

 private:
  int number_ = -1;
};

// A descriptor that becomes readable at a time or at once.
class WakeTimer {
 public:
  WakeTimer();
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Readable from `at` on, unless an earlier time is set already.
  void WakeAt(TimePoint at, TimePoint now);
  void WakeNow();
  // Not readable any more; nothing is set.
  void Clear();

 private:
  void Set(Duration in);
  Fd fd_;
  TimePoint at_ = TimePoint::max();
};

// Readable from Raise() until Clear().
class Signal {
 public:
  Signal();
  [[nodiscard]] int fd() const { return fd_.get(); }
  void Raise();
  void Clear();

 private:
  Fd fd_;
};

}  // namespace kdn::transport
