// One accepted connection: first a Hello, which costs little, then calls.
//
// Thread-safety: not safe; belongs to its server's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "transport/hello.h"
#include "transport/shm/server_share.h"
#include "transport/tcp/inbox.h"
#include "transport/tcp/outbox.h"
#include "transport/tcp/server_call.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::tcp {

class ServerConnection final : public InboxHandler {
 public:
  // `hello` must be accepted by `hello_deadline`. `host` and `zeros` outlive the connection.
  ServerConnection(Fd fd, std::unique_ptr<HelloServer> hello, TimePoint hello_deadline,
                   ServerCallHost& host, void* zeros);
  ~ServerConnection() override;

  [[nodiscard]] bool alive() const { return fd_.valid(); }
  [[nodiscard]] bool ready() const { return link_ != nullptr; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] TimePoint hello_deadline() const { return hello_deadline_; }
  // Why the Hello was refused, if it was.
  [[nodiscard]] const Status& refusal() const { return refusal_; }

  void Read();
  void Flush();
  void OnWritable() { blocked_ = false; }
  // When the peer must have taken something more; TimePoint::max() while nothing waits for it.
  [[nodiscard]] TimePoint send_deadline() const { return send_deadline_; }

  // Ends every call that is past its deadline, and all of them where the peer takes nothing;
  // returns when the next one is due.
  TimePoint Expire(TimePoint now);
  // Ends every call with kUnavailable and closes.
  void Break();
  // Tells the peer, as far as the socket takes it, that this end closes.
  void SayGoodbye();

  [[nodiscard]] bool wants_read() const { return !stalled_; }
  [[nodiscard]] bool wants_write() const { return blocked_; }

  // Who was invited to show memory with this ticket, and has shown none yet; null if it is not this
  // connection's peer.
  [[nodiscard]] const Peer* Invited(const Nonce& ticket) const;
  // It is connection number `number` of those that `memory` was shown to. Requires: Invited().
  void UseShared(std::shared_ptr<const shm::OfferedMemory> memory, std::uint32_t number);

  // For its calls. Requires: ready().
  // The call waits for copies from its caller's shared memory.
  void AddCopier(ServerCall& call);
  [[nodiscard]] Outbox& outbox() { return link_->outbox; }
  void ExpectBulk(bool expect) { link_->inbox.ExpectBulk(expect); }
  void DropLanding(const Scatter& landing) { link_->inbox.Drop(&landing); }
  void FreeSlot(const ServerCall& call);
  void Remove(const ServerCall& call);

  // The server's bookkeeping.
  std::uint32_t registered = 0;
  bool dirty = false;

 private:
  // What a connection has once its Hello is accepted.
  struct Link {
    explicit Link(void* zeros) : outbox(zeros), slots(kCallSlots) {}
    Outbox outbox;
    Inbox inbox;
    std::vector<ServerCall*> slots;
    std::vector<ServerCall*> calls;    // all that refer to this connection
    std::vector<ServerCall*> copiers;  // those that wait for copies, the next one first
    ServerCall* incoming = nullptr;    // its request is not complete yet
    std::size_t request_bytes = 0;     // of `calls`
  };

  void ReadHello();
  void FlushHello();
  [[nodiscard]] bool CanTake(const FrameHeader& header) override;
  [[nodiscard]] Landing OnBody(const FrameHeader& header) override;
  void OnSliceLanded(const FrameHeader& header, std::size_t filled, std::size_t landed) override;
  [[nodiscard]] bool OnFrame(const FrameHeader& header, ConstBytes body) override;
  [[nodiscard]] Landing OnRequestBody(const FrameHeader& header);
  [[nodiscard]] bool OnRequest(const FrameHeader& header);
  [[nodiscard]] ServerCall* Find(std::uint32_t id) const;
  void Abandon(ServerCall& call, Code code);
  void CopyPulls();
  // Where the request's bulk lies in shared memory; false if that is not where the peer's is.
  [[nodiscard]] bool FindShared(const FrameHeader& header, shm::SharedPlace& place) const;

  Fd fd_;
  std::unique_ptr<HelloServer> hello_;  // until it is decided
  std::vector<std::byte> hello_out_;
  TimePoint hello_deadline_;
  Status refusal_;
  Peer peer_;
  std::optional<ShareInvite> invite_;  // what the peer was told, until it has followed it
  // What the peer has shown: shared by the connections of its channel.
  std::shared_ptr<const shm::OfferedMemory> shared_;
  std::uint32_t shared_number_ = 0;
  ServerCallHost& host_;
  void* zeros_;
  std::unique_ptr<Link> link_;
  TimePoint send_deadline_ = TimePoint::max();
  bool blocked_ = false;
  bool stalled_ = false;
};

}  // namespace kdn::transport::tcp
