// Does what may block, for threads that may not: connecting, and making an epoch durable. One
// thread unless more are allowed, which are started when they are needed; with one, in order.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kdn::node {

class Worker {
 public:
  using Work = std::move_only_function<void()>;
  static constexpr std::size_t kQueueMax = 256;

  explicit Worker(std::size_t threads_max = 1) : threads_max_(threads_max) {}
  ~Worker();  // finishes what is running, drops what waits
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // False if the queue is full.
  [[nodiscard]] bool Post(Work work);

 private:
  void Run();

  const std::size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;  // guarded by mutex_, like all below
  std::size_t idle_ = 0;    // threads that wait for work
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // never more than threads_max_
};

}  // namespace kdn::node
