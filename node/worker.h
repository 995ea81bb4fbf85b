// One thread that does what may block, in order, for threads that may not: connecting, and making
// an epoch durable.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace kdn::node {

class Worker {
 public:
  using Work = std::move_only_function<void()>;
  static constexpr std::size_t kQueueMax = 256;

  Worker();
  ~Worker();  // finishes what is running, drops what waits
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // False if the queue is full.
  [[nodiscard]] bool Post(Work work);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::thread thread_;      // last: it uses all of the above
};

}  // namespace kdn::node
