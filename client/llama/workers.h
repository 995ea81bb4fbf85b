// A few threads that share the items of one job at a time. Which thread takes which item is left to
// chance, so an item's result must not depend on it: that is what makes every result independent of
// the number of threads.
//
// Thread-safety: not safe; one caller at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace kdn::llama {

class Workers {
 public:
  // Starts thread_count − 1 threads; the caller of Run() is the other one. Requires: at least 1.
  explicit Workers(std::size_t thread_count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Calls body(item, thread) for every item from 0 to item_count − 1 and returns when all calls
  // have. `thread` is below thread_count() and never the same in two calls at once: choose scratch
  // memory by it. `body` must not throw.
  template <class Body>
  void Run(std::size_t item_count, const Body& body) {
    RunJob(item_count, {&body, [](const void* erased, std::size_t item, std::size_t thread) {
                          (*static_cast<const Body*>(erased))(item, thread);
                        }});
  }

  [[nodiscard]] std::size_t thread_count() const { return threads_.size() + 1; }

 private:
  // A borrowed callable: nothing is allocated for a job.
  struct Job {
    const void* body = nullptr;
    void (*call)(const void* body, std::size_t item, std::size_t thread) = nullptr;
  };
  void RunJob(std::size_t item_count, Job job);
  void Serve(std::size_t thread);
  void TakeItems(std::size_t thread);

  std::vector<std::thread> threads_;
  Job job_;  // in progress; published by generation_
  std::size_t item_count_ = 0;
  std::atomic<std::size_t> next_item_{0};
  std::atomic<std::size_t> still_working_{0};  // threads of threads_ that have not ended the job
  std::atomic<std::uint32_t> generation_{0};   // one more for each job
  std::atomic<bool> stopping_{false};
};

}  // namespace kdn::llama
