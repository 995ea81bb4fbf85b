// Threads that encode, verify and decode: the client's computing, away from its I/O.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "codec/codec_scratch.h"

namespace kdn::client {

class WorkPool {
 public:
  // Each piece of work is given its thread's own scratch memory, to reuse as it likes.
  using Scratch = codec::CodecScratch;
  using Work = std::function<void(Scratch&)>;

  // kResourceExhausted if threads cannot be had.
  static Result<std::unique_ptr<WorkPool>> Start(std::uint32_t thread_count);
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Queues `work`. The queue's bound is the caller's: pieces of staging memory in flight.
  void Post(Work work);

  // Runs what is queued, joins, and drops what is posted later.
  void Stop();

 private:
  WorkPool() = default;
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace kdn::client
