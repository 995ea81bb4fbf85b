// One channel that another thread polls than the one it works for: what the two say to each other.
// The owner gives calls and takes events, a Mover turns the channel; neither waits for the other.
//
// Knows nothing of sockets. Thread-safety: as each method says.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/channel.h"
#include "transport/regions.h"
#include "transport/wakeup.h"

namespace kdn::transport::lanes {

// A call while it is with a lane: the mover's from Submit() until its end is taken, else the
// owner's.
struct LaneCall {
  std::uint64_t tag = 0;  // the owner's
  std::vector<std::byte> request;
  std::vector<ConstBytes> send_bulk;
  MutableBytes window;
  TimePoint deadline{};
  std::vector<std::byte> response;  // written by the mover

  // The owner's alone.
  std::vector<Region*> pins;
  std::size_t lane = 0;
  std::uint32_t number = 0;  // of the LaneCall among the channel's; its tag for the inner channel
  std::size_t active_index = 0;
};

// What became of a call; `event.response` is not set, the call has it.
struct LaneEvent {
  LaneCall* call = nullptr;
  Event event;
};

// Tells the owner of several lanes that one of them has events.
class OwnerSignal {
 public:
  [[nodiscard]] int fd() const { return signal_.fd(); }
  void Raise() {
    if (!raised_.exchange(true)) signal_.Raise();
  }
  void Clear() {
    signal_.Clear();
    raised_.store(false);
  }

 private:
  Signal signal_;
  std::atomic<bool> raised_{false};
};

class Lane {
 public:
  // `owner` outlives it. Calls are numbered below `calls_max`.
  Lane(std::unique_ptr<Channel> channel, OwnerSignal& owner, std::size_t calls_max);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() = default;

  // -- By the owner ------------------------------------------------------------------------------
  // False once the peer is known to be gone: calls would only fail.
  [[nodiscard]] bool alive() const { return alive_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t bytes_received() const {
    return bytes_received_.load(std::memory_order_relaxed);
  }
  // The call comes back exactly once, in a kDone. True if the mover has to be told.
  [[nodiscard]] bool Submit(LaneCall& call);
  [[nodiscard]] bool Cancel(const LaneCall& call);
  // Appends what has happened. True if the mover has to be told: it had stopped for want of room.
  [[nodiscard]] bool Take(std::vector<LaneEvent>& events);

  // -- By the mover ------------------------------------------------------------------------------
  // Whether the owner has said something that Turn() has not seen.
  [[nodiscard]] bool HasWork() const { return has_work_.load(); }
  // Does what the owner has said and polls once. True if anything happened.
  bool Turn();
  // As many events lie here as may: Turn() is of no use before the owner has taken them.
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] int WaitFd() const { return channel_->WaitFd(); }

 private:
  // Bounds what a peer can make this end remember while the owner does not look.
  static constexpr std::size_t kEventsMax = 1024;
  static constexpr std::size_t kEventsPerPoll = 64;

  struct Command {
    LaneCall* call;
    bool cancel;
  };
  [[nodiscard]] bool Say(Command command);
  void Obey(const Command& command);
  void SubmitWaiting();
  void End(LaneCall& call, Code code, ConstBytes response);
  void Tell();

  const std::unique_ptr<Channel> channel_;  // the mover's
  OwnerSignal& owner_;
  std::atomic<bool> alive_{true};
  std::atomic<std::uint64_t> bytes_received_{0};
  std::atomic<bool> has_work_{false};

  std::mutex mutex_;
  std::vector<Command> commands_;  // guarded by mutex_
  std::vector<LaneEvent> events_;  // guarded by mutex_
  bool stopped_ = false;           // guarded by mutex_: full_, and the owner has not taken since

  // The mover's.
  std::vector<Command> obeying_;
  std::deque<LaneCall*> waiting_;    // for room in the channel's queue
  std::vector<LaneCall*> calls_;     // by number: those the channel has
  std::vector<LaneEvent> happened_;  // in this turn
  bool full_ = false;
};

}  // namespace kdn::transport::lanes
