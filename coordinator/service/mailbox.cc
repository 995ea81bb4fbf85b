#include "coordinator/service/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cassert>
#include <cstdint>
#include <utility>

namespace kdn::coordinator {

Mailbox::Mailbox(std::size_t capacity)
    : capacity_(capacity), event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(event_fd_ >= 0);
}

Mailbox::~Mailbox() {
  ::close(event_fd_);
}

bool Mailbox::Post(Task task) {
  const std::lock_guard lock(mutex_);
  if (closed_ || tasks_.size() >= capacity_) return false;
  tasks_.push_back(std::move(task));
  Wake();
  return true;
}

void Mailbox::PostAnswer(Task task) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  tasks_.push_back(std::move(task));
  Wake();
}

void Mailbox::TakeAll(std::vector<Task>& out) {
  out.clear();
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  // Emptying the counter before the queue under one lock: no task can be left behind unannounced.
  [[maybe_unused]] const auto read = ::read(event_fd_, &count, sizeof(count));
  out.swap(tasks_);
}

void Mailbox::Close() {
  std::vector<Task> dropped;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(tasks_);
}

void Mailbox::Wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(event_fd_, &one, sizeof(one));
}

}  // namespace kdn::coordinator
