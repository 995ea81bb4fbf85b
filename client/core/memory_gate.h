// The promise that after a load or store has completed the engine's memory is not touched again:
// workers enter before they read or write it and leave after; a closed gate lets nobody in.
//
// Thread-safety: safe.
#pragma once

#include <mutex>

namespace kdn::client {

class MemoryGate {
 public:
  // False once the gate is closed. True must be followed by Leave().
  [[nodiscard]] bool Enter() {
    const std::scoped_lock lock(mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }
  // True if the gate is closed and this was the last one inside.
  [[nodiscard]] bool Leave() {
    const std::scoped_lock lock(mutex_);
    return --inside_ == 0 && closed_;
  }
  // True if nobody is inside: nothing touches it any more.
  [[nodiscard]] bool Close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    return inside_ == 0;
  }

 private:
  std::mutex mutex_;
  unsigned inside_ = 0;  // guarded by mutex_
  bool closed_ = false;  // guarded by mutex_
};

}  // namespace kdn::client
