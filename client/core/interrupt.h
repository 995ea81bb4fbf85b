// Lets one thread end what another one waits for: each wait says how it is to be cut short.
//
// Thread-safety: safe.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

namespace kdn::client {

class Interrupt {
 public:
  // Ends the wait under way, and every later one at once. `cut` runs on this thread.
  void Raise() {
    const std::scoped_lock lock(mutex_);
    raised_ = true;
    if (cut_) cut_();
  }
  [[nodiscard]] bool raised() {
    const std::scoped_lock lock(mutex_);
    return raised_;
  }

  // Runs `wait`, which returns soon once `cut` has been called. `cut` must not block.
  template <class Wait>
  auto During(std::function<void()> cut, Wait wait) {
    {
      const std::scoped_lock lock(mutex_);
      cut_ = std::move(cut);
      if (raised_) cut_();
    }
    auto outcome = wait();
    const std::scoped_lock lock(mutex_);
    cut_ = nullptr;
    return outcome;
  }

 private:
  std::mutex mutex_;
  bool raised_ = false;        // guarded by mutex_
  std::function<void()> cut_;  // of the wait under way; guarded by mutex_
};

}  // namespace kdn::client
