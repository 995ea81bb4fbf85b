// Threads that run posted work in the order in which it came, from a bounded queue.
//
// Thread-safety: safe, but for the destructor.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kdn::storage {

class WorkerPool {
 public:
  // Requires: threads > 0, queue_depth > 0.
  WorkerPool(std::uint32_t threads, std::size_t queue_depth);
  ~WorkerPool();  // Stop()
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False if the queue is full or the pool stopped.
  [[nodiscard]] bool Post(std::function<void()> work);
  // Runs what was posted, then ends the threads. Not from one of them.
  void Stop();

 private:
  void Run();

  const std::size_t queue_depth_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> queue_;  // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace kdn::storage
