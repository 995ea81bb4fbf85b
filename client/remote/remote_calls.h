// Calls to a cluster: one channel per endpoint, opened in the background, closed when it fails, and
// tried again with growing pauses. A call to an endpoint that is just being connected waits for it;
// one to an endpoint that was unreachable a moment ago fails at once.
//
// Thread-safety: as Calls.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "client/core/calls.h"
#include "client/remote/connector.h"
#include "transport/channel.h"

namespace kdn::client {

class RemoteCalls final : public Calls {
 public:
  // Begins to connect to the coordinator at once. `clock` and `log` outlive this.
  // `shares_memory`: MakeMemory() makes such that servers of this host can be let into.
  static Result<std::unique_ptr<RemoteCalls>> Make(std::unique_ptr<transport::Domain> domain,
                                                   transport::Identity identity,
                                                   std::string coordinator, const Clock& clock,
                                                   Log& log, bool shares_memory = false);
  ~RemoteCalls() override;

  CallId Start(CallRequest request) override;
  void Cancel(CallId id) override;
  [[nodiscard]] bool Avoid(const CallTarget& target) const override;
  [[nodiscard]] TimePoint LastHeard(const CallTarget& target) const override;
  [[nodiscard]] bool Connected() const override { return connected_.load(); }
  bool Poll() override;
  [[nodiscard]] int WaitFd() const override { return epoll_fd_; }
  Result<std::unique_ptr<BulkMemory>> MakeMemory(std::size_t size_bytes) override;

 private:
  enum class PeerState : std::uint8_t { kConnecting, kUp, kDown };
  struct Peer {
    PeerState state = PeerState::kDown;
    std::unique_ptr<transport::Channel> channel;
    std::deque<CallId> waiting;     // for the connection, or for room in the channel's queue
    TimePoint retry_at{};           // of kDown: not to be connected before
    TimePoint avoid_until{};        // it failed a call: other replicas first
    Duration pause{};               // before the next try
    std::uint64_t bytes_heard = 0;  // of this channel
    TimePoint heard_at{};           // when there were more of them last
  };
  struct Pending {
    CallRequest request;
    std::string endpoint;
    bool submitted = false;
  };

  RemoteCalls(std::unique_ptr<transport::Domain> domain, transport::Identity identity,
              std::string coordinator, const Clock& clock, Log& log, bool shares_memory);
  Status OpenDescriptors();
  void Connect(const std::string& endpoint, Peer& peer);
  void TakeOutcome(Connector::Outcome outcome);
  void DropChannel(const std::string& endpoint, Peer& peer);
  void SubmitWaiting(const std::string& endpoint, Peer& peer);
  bool PollChannel(const std::string& endpoint, Peer& peer);
  void OnDone(const std::string& endpoint, const transport::Event& event);
  bool EndOverdue();
  void End(CallId id, Code code, ConstBytes response);
  void EndLater(CallId id, Code code);
  void Wake();
  void ArmTimer();

  const Clock& clock_;
  Log& log_;
  const std::string coordinator_;
  const bool shares_memory_;
  std::unique_ptr<transport::Domain> domain_;
  MutableBytes memory_;  // registered
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  int timer_fd_ = -1;
  std::atomic<bool> connected_{false};
  std::map<std::string, Peer> peers_;  // by endpoint
  // Dropped, but an event of theirs may still be in hand: freed by Poll() once its events are over,
  // before the end of their calls is told.
  std::vector<std::unique_ptr<transport::Channel>> dropped_;
  std::map<CallId, Pending> calls_;
  std::multimap<TimePoint, CallId> deadlines_;  // of calls that wait; stale ones are skipped
  std::vector<std::pair<CallId, Code>> ended_;  // to be told by the next Poll()
  std::uint64_t next_id_ = 1;
  transport::Identity identity_;
  std::unique_ptr<Connector> connector_;  // last: its threads use the domain
};

}  // namespace kdn::client
