// What other threads tell a shard: a bounded queue of values, with a descriptor to wait on.
//
// Thread-safety: safe; Take() belongs to the shard's thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "transport/channel.h"

namespace kdn::node {

// A connection to another node that the shard asked for, or why there is none.
struct PeerConnected {
  std::string endpoint;
  Result<std::unique_ptr<transport::Channel>> channel;
};
// The attempt to make a higher epoch durable has ended; ClusterState::epoch() says how.
struct EpochSettled {
  Epoch epoch{};
};
// The registrar wants all that this shard holds.
struct WantInventory {};
// The node stops.
struct LeaveLoop {};

using ShardMessage = std::variant<PeerConnected, EpochSettled, WantInventory, LeaveLoop>;

class Mailbox {
 public:
  static constexpr std::size_t kMessagesMax = 4096;

  Mailbox();  // aborts if the system has no descriptor left: the daemon cannot start
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False, and nothing posted, if it is full.
  bool Post(ShardMessage message);
  // All messages, oldest first.
  [[nodiscard]] std::vector<ShardMessage> Take();
  // Readable when Take() has something to give.
  [[nodiscard]] int WaitFd() const { return event_fd_; }

 private:
  const int event_fd_;
  std::mutex mutex_;
  std::vector<ShardMessage> messages_;  // guarded by mutex_
};

}  // namespace kdn::node
