// What a channel and its server share: the calls that are open between them, and what each has
// still to hear of. All of it is guarded by one mutex, which is held while a piece is copied: so
// once a call has ended, nobody touches its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/channel.h"
#include "transport/loopback/loopback.h"
#include "transport/regions.h"
#include "transport/wakeup.h"

namespace kdn::transport::loopback {

// One call between both ends. Shared: each end keeps it for as long as it has something to say
// about it.
struct SharedCall {
  std::uint64_t tag = 0;
  std::vector<std::byte> request;
  std::vector<ConstBytes> send_bulk;
  std::size_t send_bulk_bytes = 0;
  MutableBytes window;
  TimePoint deadline{};
  // The rest is guarded by the pipe's mutex.
  bool ended = false;
  Code code = Code::kOk;
  std::vector<std::byte> response;
  std::vector<Region*> pins;
};
using CallPtr = std::shared_ptr<SharedCall>;

class Pipe {
 public:
  Pipe(const Peer& client, Signal& server_signal, Faults* faults)
      : client_(client), server_signal_(&server_signal), faults_(faults) {}

  // The channel's end.
  // False if the server is gone.
  [[nodiscard]] bool Submit(const CallPtr& call);
  [[nodiscard]] bool server_gone() const;
  // Moves what there is to hear into `events`; the calls that ended are appended to `ended`.
  std::size_t Take(std::span<Event> events, std::vector<CallPtr>& ended);
  [[nodiscard]] bool HasEvents() const;
  void CloseChannel();
  [[nodiscard]] int channel_fd() const { return channel_signal_.fd(); }
  void ClearChannelSignal() { channel_signal_.Clear(); }

  // The server's end.
  [[nodiscard]] const Peer& client() const { return client_; }
  std::vector<CallPtr> TakeRequests();
  [[nodiscard]] bool channel_gone() const;
  [[nodiscard]] bool HasEnded(const SharedCall& call) const;
  enum class Moved : std::uint8_t { kYes, kNoRoom, kEnded, kLost };
  // Copies a piece to the channel and reports it there.
  Moved Send(SharedCall& call, std::uint32_t piece, std::size_t offset,
             std::span<const ConstBytes> from);
  // Copies a piece from the channel.
  Moved Receive(SharedCall& call, std::size_t offset, std::span<const MutableBytes> into);
  void CloseServer();

  // Either end: the first one decides how the call ended.
  void End(const CallPtr& call, Code code, ConstBytes response);

 private:
  struct News {
    Event event;
    CallPtr ended;  // of kDone
  };
  static constexpr std::size_t kNewsMax = 1024;
  void EndLocked(const CallPtr& call, Code code, ConstBytes response);

  const Peer client_;
  mutable std::mutex mutex_;
  Signal channel_signal_;
  Signal* server_signal_;  // guarded by mutex_; null once the server is gone
  Faults* faults_;
  bool channel_gone_ = false;  // guarded by mutex_, as all that follows
  std::vector<CallPtr> requests_;
  std::vector<CallPtr> open_;
  std::deque<News> news_;
};

}  // namespace kdn::transport::loopback
