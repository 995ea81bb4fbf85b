// Work for one thread from all others: a bounded queue with a file descriptor that is readable
// while something is in it.
//
// Thread-safety: safe; TakeAll() from one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

namespace kdn::coordinator {

class Mailbox {
 public:
  using Task = std::move_only_function<void()>;

  explicit Mailbox(std::size_t capacity);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False, and nothing is queued, if the queue is full or closed.
  [[nodiscard]] bool Post(Task task);
  // For what answers an action of the thread itself, which bounds it: it is never refused for want
  // of room. Dropped if the queue is closed.
  void PostAnswer(Task task);

  // All that is queued, in order.
  void TakeAll(std::vector<Task>& out);
  // Refuses everything from now on; what is queued is dropped.
  void Close();

  [[nodiscard]] int WaitFd() const { return event_fd_; }

 private:
  void Wake() const;

  const std::size_t capacity_;
  const int event_fd_;
  std::mutex mutex_;
  std::vector<Task> tasks_;  // guarded by mutex_
  bool closed_ = false;      // guarded by mutex_
};

}  // namespace kdn::coordinator
