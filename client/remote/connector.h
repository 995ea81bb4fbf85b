// Opens channels on threads of its own, because Domain::Connect() blocks and the I/O loop must not.
// As many threads as connects have been under way at once, up to a bound: endpoints that swallow
// packets do not keep those that answer waiting.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "transport/channel.h"

namespace kdn::client {

class Connector {
 public:
  struct Outcome {
    std::string endpoint;
    Status status;
    std::unique_ptr<transport::Channel> channel;  // null unless the status is ok
  };

  // `wake_fd` is an eventfd that is written to when an outcome is there. All outlive the connector.
  // Throws std::system_error if it cannot start a thread.
  Connector(transport::Domain& domain, transport::Identity identity, const Clock& clock,
            int wake_fd);
  // Waits for connects under way, at most kConnectTimeout.
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Requires: no connect to this endpoint is under way, its outcome taken or not.
  void Connect(std::string endpoint);
  [[nodiscard]] std::vector<Outcome> TakeOutcomes();

 private:
  void Run();

  transport::Domain& domain_;
  const transport::Identity identity_;
  const Clock& clock_;
  const int wake_fd_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> wanted_;    // guarded by mutex_
  std::size_t idle_ = 0;              // threads that wait; guarded by mutex_
  std::vector<Outcome> outcomes_;     // guarded by mutex_
  bool stopping_ = false;             // guarded by mutex_
  std::vector<std::thread> threads_;  // guarded by mutex_
};

}  // namespace kdn::client
