// One of a channel's connections, and the calls that live on it.
//
// Thread-safety: not safe; belongs to its channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/tcp/client_call.h"
#include "transport/tcp/inbox.h"
#include "transport/tcp/outbox.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::tcp {

class ClientConnection final : public InboxHandler {
 public:
  // `fd` has an accepted Hello behind it; it is the channel's connection number `number`. `calls`
  // and `zeros` outlive the connection.
  ClientConnection(Fd fd, std::uint32_t number, ClientCalls& calls, void* zeros);
  ~ClientConnection() override;

  [[nodiscard]] bool alive() const { return fd_.valid(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::size_t open_calls() const { return open_calls_; }
  [[nodiscard]] std::uint64_t bytes_received() const { return inbox_.bytes_received(); }
  [[nodiscard]] bool HasSlot() const { return alive() && !free_slots_.empty(); }

  // Puts the call on this connection and its request in the queue. Requires: HasSlot().
  void Start(ClientCall& call, std::uint64_t remaining_us);
  // Ends the call here and, if it may have heard of it, at the server.
  void Stop(ClientCall& call, Code code);
  // Sends what is queued, as far as the socket takes it.
  void Flush();
  // Receives. Everything ends with kUnavailable if the connection breaks.
  void Read();
  // Ends every call and closes.
  void Break();
  // A call has been stopped at its deadline.
  void NoteOverdue(TimePoint now);
  // Whether the peer has let several deadlines pass, over a second and more, and in all that time
  // said not a byte: one that lives says at a deadline at least that it was missed.
  [[nodiscard]] bool IsSilent(TimePoint now) const;

  // What the channel waits for on its behalf.
  [[nodiscard]] bool wants_read() const { return !stalled_; }
  [[nodiscard]] bool wants_write() const { return blocked_; }
  // A frame waits for room among the events.
  [[nodiscard]] bool stalled() const { return stalled_; }

  // The epoll events that are registered; the channel's bookkeeping.
  std::uint32_t registered = 0;

 private:
  [[nodiscard]] bool CanTake(const FrameHeader& header) override;
  [[nodiscard]] Landing OnBody(const FrameHeader& header) override;
  [[nodiscard]] bool OnFrame(const FrameHeader& header, ConstBytes body) override;
  [[nodiscard]] Landing OnSlice(ClientCall& call, const FrameHeader& header);
  [[nodiscard]] bool OnPieceEnd(ClientCall& call, const FrameHeader& header);
  [[nodiscard]] bool OnPull(ClientCall& call, const FrameHeader& header);
  [[nodiscard]] ClientCall* Find(std::uint32_t id) const;
  // Lets go of everything that refers to the call.
  void Detach(ClientCall& call, Code code);

  // Whether bulk for it comes through the socket.
  [[nodiscard]] static bool ExpectsBulk(const ClientCall& call) {
    return !call.window.empty() && !call.loan.valid();
  }

  Fd fd_;
  const std::uint32_t number_;
  ClientCalls& calls_;
  Outbox outbox_;
  Inbox inbox_;
  std::vector<ClientCall*> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::uint32_t generation_ = 0;
  std::size_t open_calls_ = 0;
  std::size_t open_windows_ = 0;
  bool blocked_ = false;
  bool stalled_ = false;
  // Calls that ended at their deadline since the last byte came: how many, since when, and how many
  // bytes had come by then.
  std::uint32_t overdue_ = 0;
  TimePoint overdue_since_{};
  std::uint64_t overdue_bytes_ = 0;
};

}  // namespace kdn::transport::tcp
