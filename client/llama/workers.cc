#include "client/llama/workers.h"

namespace kdn::llama {
namespace {

// Jobs follow each other within microseconds, where sleeping and waking costs tens of them; so a
// waiter looks this often (some 50 us) before it sleeps.
constexpr int kLooksBeforeSleep = 2000;

void Pause() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

template <class T>
void WaitWhileEqual(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kLooksBeforeSleep; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Workers::Workers(std::size_t thread_count) {
  for (std::size_t thread = 1; thread < thread_count; ++thread) {
    threads_.emplace_back([this, thread] { Serve(thread); });
  }
}

Workers::~Workers() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::RunJob(std::size_t item_count, Job job) {
  if (threads_.empty() || item_count <= 1) {
    for (std::size_t item = 0; item < item_count; ++item) job.call(job.body, item, 0);
    return;
  }
  job_ = job;
  item_count_ = item_count;
  next_item_.store(0, std::memory_order_relaxed);
  still_working_.store(threads_.size(), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  TakeItems(0);
  for (std::size_t left = still_working_.load(std::memory_order_acquire); left != 0;
       left = still_working_.load(std::memory_order_acquire)) {
    WaitWhileEqual(still_working_, left);
  }
}

void Workers::Serve(std::size_t thread) {
  for (std::uint32_t seen = 0;; ++seen) {
    WaitWhileEqual(generation_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    TakeItems(thread);
    if (still_working_.fetch_sub(1, std::memory_order_acq_rel) == 1) still_working_.notify_one();
  }
}

void Workers::TakeItems(std::size_t thread) {
  for (;;) {
    const std::size_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= item_count_) return;
    job_.call(job_.body, item, thread);
  }
}

}  // namespace kdn::llama
