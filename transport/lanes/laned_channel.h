// A Channel made of several to the same peer. The first is polled by whoever polls this one, the
// others by movers: one owner's bulk is then received and sent by several cores, while everything
// that it is told still comes from its own Poll().
//
// Where a call goes: one without bulk, and one with which the owner would otherwise have nothing to
// move, to the owner's own channel. Others to the channel's home lane, as long as that has not many
// more calls than another: a peer's thread and the thread it talks to then share a core's caches,
// which is worth a quarter of the time (docs/decisions/0012-lanes.md). When the owner's own channel
// has lost its peer, so have all.
//
// Knows nothing of sockets. Thread-safety: as Channel says.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/channel.h"
#include "transport/lanes/lane.h"
#include "transport/lanes/mover.h"
#include "transport/regions.h"

namespace kdn::transport::lanes {

struct LanedSetup {
  std::unique_ptr<Channel> own;                 // may be null: movers poll all
  std::vector<std::unique_ptr<Channel>> moved;  // at least one
  std::vector<Mover*> movers;                   // of each of `moved`; outlive the channel
  std::uint32_t queue_depth = 0;                // of all together; each has twice as much
  const RegionTable* regions = nullptr;         // outlives the channel
  std::size_t home = 0;  // 0: `own`, if there is one; n: number n - 1 of `moved`
  // Calls that the owner's channels to all peers carry; outlives the channel.
  std::atomic<std::size_t>* owner_calls = nullptr;
};

class LanedChannel final : public Channel {
 public:
  // kResourceExhausted if the system has no descriptors left.
  static Result<std::unique_ptr<LanedChannel>> Make(LanedSetup setup);
  ~LanedChannel() override;

  Status Submit(const Call& call) override;
  void Cancel(std::uint64_t tag) override;
  std::size_t Poll(std::span<Event> events) override;
  [[nodiscard]] int WaitFd() const override { return epoll_.get(); }
  [[nodiscard]] std::uint64_t BytesReceived() const override;
  [[nodiscard]] bool Alive() const override;

 private:
  struct LaneState {
    std::unique_ptr<Lane> lane;
    Mover* mover;
    std::size_t open_calls = 0;
  };

  explicit LanedChannel(LanedSetup setup);
  [[nodiscard]] Status Watch();
  [[nodiscard]] std::size_t CallsMax() const { return 2 * queue_depth_; }
  // The lane for a call, or kOwn.
  [[nodiscard]] std::size_t Choose(bool has_bulk) const;
  [[nodiscard]] Status SubmitTo(std::size_t lane, const Call& call);
  [[nodiscard]] LaneCall* Open();
  [[nodiscard]] Status Fill(LaneCall& to, const Call& from);
  void Close(LaneCall& call);
  void RecycleDelivered();
  std::size_t PollOwn(std::span<Event> events);
  std::size_t Deliver(std::span<Event> events);

  static constexpr std::size_t kOwn = ~std::size_t{0};
  // So many calls more than elsewhere may wait at home.
  static constexpr std::size_t kHomeLead = 4;

  RegionView regions_;
  const std::size_t queue_depth_;
  OwnerSignal signal_;
  Fd epoll_;
  std::unique_ptr<Channel> own_;
  std::size_t own_open_calls_ = 0;
  std::atomic<std::size_t>& owner_calls_;
  std::vector<LaneState> lanes_;
  const std::size_t home_;

  std::vector<std::unique_ptr<LaneCall>> calls_;  // all there are, by number
  std::vector<LaneCall*> free_;
  std::vector<LaneCall*> active_;
  std::vector<LaneCall*> delivered_;  // whose responses may still be looked at
  std::vector<LaneEvent> taken_;      // from lanes, those from taken_next_ on not delivered
  std::size_t taken_next_ = 0;
};

}  // namespace kdn::transport::lanes
