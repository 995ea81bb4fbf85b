// A thread that polls lanes, so that one owner's bulk is moved by more than one core.
//
// Thread-safety: safe.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "transport/lanes/lane.h"
#include "transport/wakeup.h"

namespace kdn::transport::lanes {

class Mover {
 public:
  // Starts the thread, which looks for work for `spin` before it sleeps. `clock` outlives it.
  // kResourceExhausted if the system has no thread or descriptor left.
  static Result<std::unique_ptr<Mover>> Start(const Clock& clock, std::chrono::microseconds spin);
  ~Mover();  // requires: every lane has been removed
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  // Polls the lane from now on, until Remove() has returned; that waits for the turn at hand.
  [[nodiscard]] Status Add(Lane& lane);
  void Remove(Lane& lane);
  // A lane has something to be told.
  void Wake();

 private:
  // A lane, and whether its descriptor is being waited for.
  struct Entry {
    Lane* lane;
    bool watched;
  };

  Mover(const Clock& clock, std::chrono::microseconds spin);
  void Run();
  bool Turn(Entry& entry);
  [[nodiscard]] bool AnyWork() const;

  const Clock& clock_;
  const std::chrono::microseconds spin_;
  Fd epoll_;
  Signal wake_;
  std::atomic<bool> asleep_{true};  // as the thread is at first

  std::mutex mutex_;  // held through every turn
  std::vector<Entry> lanes_;
  bool stopping_ = false;
  std::vector<Lane*> ready_;  // the thread's
  std::thread thread_;
};

}  // namespace kdn::transport::lanes
