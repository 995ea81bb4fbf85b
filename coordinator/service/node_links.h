// Channels to the shards of nodes, for what the coordinator tells them. A link is opened when it is
// first needed and again after it broke; calls wait meanwhile, up to a bound and their deadline.
// Connecting may block, so it happens on threads of its own, several at a time: an endpoint that
// does not answer holds up no other.
//
// Thread-safety: owned by the core's thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/service/mailbox.h"
#include "proto/wire/message.h"
#include "transport/channel.h"

namespace kdn::coordinator {

class NodeLinks {
 public:
  // Called once per call, on the core's thread; `response` is valid inside only. Called from Poll()
  // and the destructor, and for calls before it from inside Call() if the link is found broken.
  using Done = std::move_only_function<void(Code code, ConstBytes response)>;

  // All outlive this object. Connections are handed over through `mailbox`.
  NodeLinks(transport::Domain& domain, transport::Identity identity, const Clock& clock, Log& log,
            Mailbox& mailbox);
  ~NodeLinks();

  void Call(const std::string& endpoint, wire::Buffer request, TimePoint deadline, Done done);
  // Returns how many calls ended.
  std::size_t Poll();
  // Descriptors that are readable when Poll() has something to do.
  void AppendWaitFds(std::vector<int>& out) const;
  // Closes links to endpoints for which this is false, once they are idle.
  void Keep(const std::function<bool(const std::string&)>& wanted);

 private:
  struct Waiting {
    wire::Buffer request;
    TimePoint deadline;
    Done done;
  };
  struct Link {
    std::unique_ptr<transport::Channel> channel;  // null: not connected
    bool connecting = false;
    std::deque<Waiting> waiting;
    std::map<std::uint64_t, Done> out;  // by tag
  };

  void Connect(const std::string& endpoint, Link& link);
  void OnConnected(const std::string& endpoint, Result<std::unique_ptr<transport::Channel>> result);
  void Flush(const std::string& endpoint, Link& link);
  std::size_t PollLink(Link& link);
  void RunConnector();

  transport::Domain& domain_;
  const transport::Identity identity_;
  const Clock& clock_;
  Log& log_;
  Mailbox& mailbox_;
  std::map<std::string, Link> links_;
  std::uint64_t next_tag_ = 1;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> to_connect_;   // guarded by mutex_
  bool stopping_ = false;                // guarded by mutex_
  std::size_t idle_connectors_ = 0;      // guarded by mutex_
  std::vector<std::thread> connectors_;  // started when there is none idle
};

}  // namespace kdn::coordinator
