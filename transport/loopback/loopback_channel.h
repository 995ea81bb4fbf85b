// The calling end of a loopback pipe. Thread-safety: as Channel says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/channel.h"
#include "transport/loopback/pipe.h"
#include "transport/regions.h"
#include "transport/wakeup.h"

namespace kdn::transport::loopback {

class LoopbackChannel final : public Channel {
 public:
  // `regions` and `clock` outlive the channel. The pipe is shared with the server's end.
  LoopbackChannel(std::shared_ptr<Pipe> pipe, std::uint32_t queue_depth, const RegionTable& regions,
                  const Clock& clock);
  ~LoopbackChannel() override;

  Status Submit(const Call& call) override;
  void Cancel(std::uint64_t tag) override;
  std::size_t Poll(std::span<Event> events) override;
  [[nodiscard]] int WaitFd() const override { return epoll_.get(); }
  [[nodiscard]] std::uint64_t BytesReceived() const override { return bytes_received_; }
  [[nodiscard]] bool Alive() const override { return !pipe_->server_gone(); }

 private:
  Status Fill(SharedCall& to, const Call& from);
  void ExpireCalls(TimePoint now);

  std::shared_ptr<Pipe> pipe_;
  std::uint32_t queue_depth_;
  RegionView regions_;
  const Clock& clock_;
  Fd epoll_;
  WakeTimer timer_;
  std::vector<CallPtr> open_;  // their kDone is not delivered
  std::uint64_t bytes_received_ = 0;
  std::vector<CallPtr> delivered_;  // their responses are valid until the next Poll()
};

}  // namespace kdn::transport::loopback
