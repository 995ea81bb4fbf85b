#include "client/core/work_pool.h"

#include <system_error>
#include <utility>

namespace kdn::client {

Result<std::unique_ptr<WorkPool>> WorkPool::Start(std::uint32_t thread_count) {
  std::unique_ptr<WorkPool> pool(new WorkPool);
  try {
    for (std::uint32_t i = 0; i < thread_count; ++i) {
      pool->threads_.emplace_back([raw = pool.get()] { raw->Run(); });
    }
  } catch (const std::system_error&) {
    return Error(Code::kResourceExhausted, "cannot start the client's decode threads");
  }
  return pool;
}

WorkPool::~WorkPool() {
  Stop();
}

void WorkPool::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkPool::Post(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void WorkPool::Run() {
  Scratch scratch;
  for (;;) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work(scratch);
  }
}

}  // namespace kdn::client
