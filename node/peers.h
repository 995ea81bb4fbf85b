// Calls from one shard to shards of other nodes: connections opened when first needed, again after
// they broke. Connecting may block, so a Worker does it, for several peers at a time, and the
// mailbox brings the channel back.
//
// Thread-safety: owned by one shard.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "node/mailbox.h"
#include "node/worker.h"
#include "proto/wire/message.h"
#include "transport/channel.h"

namespace kdn::node {

class Peers {
 public:
  static constexpr std::chrono::milliseconds kConnectTimeout{500};
  static constexpr std::chrono::milliseconds kRetryAfter{200};
  static constexpr std::size_t kWaitingMax = 1024;  // calls per peer
  static constexpr std::size_t kConnectorsMax = 8;

  // Called once per call, from Poll(). `response` is valid inside only.
  using Done = std::move_only_function<void(Code code, ConstBytes response)>;

  struct Call {
    wire::Buffer request;
    std::vector<ConstBytes> bulk;  // registered with the domain; stays until Done
    TimePoint deadline;
    Done done;
  };

  // All outlive this object.
  Peers(transport::Domain& domain, transport::Identity identity, const Clock& clock,
        Mailbox& mailbox);

  // Never fails at once: `done` says so from the next Poll().
  void Start(const std::string& endpoint, Call call);
  void OnConnected(PeerConnected connected);
  // Returns how many calls ended.
  std::size_t Poll();
  void AppendWaitFds(std::vector<int>& out) const;
  // Whether the next Poll() has something to say that no descriptor tells of.
  [[nodiscard]] bool HasFailed() const;

 private:
  struct Peer {
    std::unique_ptr<transport::Channel> channel;  // null: not connected
    bool connecting = false;
    TimePoint retry_at;  // of a peer that did not answer: calls fail at once until then
    std::deque<Call> waiting;
    std::unordered_map<std::uint64_t, Done> started;  // by tag
  };

  void Connect(const std::string& endpoint, Peer& peer);
  void SubmitWaiting(const std::string& endpoint, Peer& peer);
  void ExpireWaiting(Peer& peer);
  std::size_t PollChannel(Peer& peer);
  void FailWaiting(Peer& peer, Code code);

  transport::Domain& domain_;
  const transport::Identity identity_;
  const Clock& clock_;
  Mailbox& mailbox_;
  std::map<std::string, Peer> peers_;
  std::uint64_t next_tag_ = 1;
  std::vector<std::pair<Done, Code>> failed_;  // to be told in the next Poll()
  Worker connector_{kConnectorsMax};           // last: its work uses all of the above
};

}  // namespace kdn::node
