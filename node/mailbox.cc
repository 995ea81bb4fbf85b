#include "node/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

namespace kdn::node {

Mailbox::Mailbox() : event_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (event_fd_ < 0) std::abort();
}

Mailbox::~Mailbox() {
  close(event_fd_);
}

bool Mailbox::Post(ShardMessage message) {
  const std::lock_guard lock(mutex_);
  if (messages_.size() >= kMessagesMax) return false;
  messages_.push_back(std::move(message));
  if (messages_.size() == 1) {
    // Cannot fail: the counter is 0 here, Take() has drained it.
    const std::uint64_t one = 1;
    (void)!write(event_fd_, &one, sizeof(one));
  }
  return true;
}

std::vector<ShardMessage> Mailbox::Take() {
  const std::lock_guard lock(mutex_);
  if (messages_.empty()) return {};
  std::uint64_t count = 0;
  (void)!read(event_fd_, &count, sizeof(count));
  return std::exchange(messages_, {});
}

}  // namespace kdn::node
