// The calls of one channel, whichever connection they are on: what each one needs while it is open,
// and what Poll() has still to say about it. Calls are reused, so that a channel that has warmed up
// allocates nothing.
//
// Knows nothing of sockets. Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "transport/channel.h"
#include "transport/regions.h"
#include "transport/shm/client_share.h"
#include "transport/tcp/inbox.h"
#include "transport/tcp/outbox.h"

namespace kdn::transport::tcp {

class ClientConnection;

// Bytes that are grown but never shrunk, and never filled with zeros first.
class Buffer {
 public:
  MutableBytes Resize(std::size_t size);
  void Assign(ConstBytes bytes);
  // Gives memory back that is far beyond what calls usually need.
  void Trim();
  [[nodiscard]] ConstBytes bytes() const { return {data_.get(), size_}; }

 private:
  static constexpr std::size_t kKeepBytes = 64 * limits::kKiB;
  std::unique_ptr<std::byte[]> data_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

// Which bytes of a window have come: none comes twice, so that what was looked at stays as it is.
class Filled {
 public:
  // How many bytes may come from `offset` on; 0 if that one is there.
  [[nodiscard]] std::size_t RoomAt(std::size_t offset, std::size_t window_bytes) const;
  // False if they are in more runs than pieces of a call may be.
  [[nodiscard]] bool Add(std::size_t offset, std::size_t size);
  void Clear() { runs_.clear(); }

 private:
  struct Run {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::vector<Run> runs_;  // ascending; they do not touch
};

// A piece that is being received, from its first slice to its end.
struct PieceProgress {
  bool open = false;
  std::uint32_t piece = 0;
  std::uint64_t offset = 0;
  std::uint64_t received = 0;
  std::uint64_t room = 0;  // for all of it
};

struct ClientCall final : OutSink {
  std::uint64_t tag = 0;
  std::uint32_t id = 0;
  ClientConnection* connection = nullptr;  // null once it has ended
  TimePoint deadline{};
  Buffer request;
  Buffer response;
  std::vector<ConstBytes> send_bulk;
  std::size_t send_bulk_bytes = 0;
  MutableBytes window;
  std::vector<Region*> pins;
  shm::Loan loan;  // valid if the server moves the bulk itself, in shared memory
  OutStream stream;
  std::uint32_t pulls_open = 0;
  Scatter landing;
  PieceProgress progress;
  Filled filled;
  Code code = Code::kOk;
  bool request_in_flight = false;  // the connection still refers to `request`
  std::size_t active_index = 0;

  void OnPieceOut(std::uint32_t, Code) override { --pulls_open; }
  void OnStreamEmpty() override {}
  void OnMessageOut() override { request_in_flight = false; }
};

class ClientCalls {
 public:
  // `share`: what the server was shown; null if nothing. Outlives this.
  explicit ClientCalls(std::uint32_t depth, shm::ClientShare* share = nullptr);

  // A call that is ready to be filled in; null if as many are open as may be.
  [[nodiscard]] ClientCall* Open();
  // Takes back what Open() gave, before anything was said about it.
  void Forget(ClientCall* call);
  // Its kDone is due, as soon as a server that is just writing to its shared memory has stopped.
  // Requires: nothing else refers to its bulk memory any more.
  void End(ClientCall* call, Code code);
  // Ends calls whose server has stopped meanwhile, or does not by now: then its hand is cut off.
  // True if some are still left.
  bool Settle(TimePoint now);
  // The same for all of them, at once.
  void SettleAll();
  [[nodiscard]] shm::ClientShare* share() const { return share_; }
  void AddPiece(std::uint64_t tag, std::uint32_t piece, std::size_t offset, std::size_t size);
  [[nodiscard]] bool HasRoomForPiece() const { return piece_count_ < pieces_.size(); }

  // What was delivered before is over: its responses are not valid any more.
  void BeginPoll();
  std::size_t Deliver(std::span<Event> events);
  [[nodiscard]] bool HasEvents() const { return piece_count_ > 0 || ended_next_ < ended_.size(); }

  [[nodiscard]] ClientCall* FindByTag(std::uint64_t tag) const;
  [[nodiscard]] std::span<ClientCall* const> active() const { return active_; }

 private:
  static constexpr std::size_t kPieceEventsMax = 1024;
  // How long a server may take to leave a gate: it copies a block in a fraction of a millisecond.
  static constexpr std::chrono::milliseconds kSettleTime{5};
  struct Settling {
    ClientCall* call;
    TimePoint until;  // set by the first Settle()
  };
  void Recycle(ClientCall* call);
  [[nodiscard]] bool Settles(Settling& settling, TimePoint now);

  std::vector<std::unique_ptr<ClientCall>> all_;
  std::uint32_t depth_;
  std::vector<ClientCall*> free_;
  std::vector<ClientCall*> active_;
  std::vector<ClientCall*> ended_;  // kDone not delivered yet: those from ended_next_ on
  std::size_t ended_next_ = 0;
  shm::ClientShare* share_;
  std::vector<Settling> settling_;  // ended, but for the server's last block
  std::vector<ClientCall*> delivered_;
  std::vector<Event> pieces_;  // a ring of piece_count_ from piece_next_ on
  std::size_t piece_next_ = 0;
  std::size_t piece_count_ = 0;
};

}  // namespace kdn::transport::tcp
