// One call at the server: what the service holds as an Exchange. It stays until the service has let
// go of it and its connection does not refer to it any more, and is then used again.
//
// Thread-safety: not safe; belongs to its server's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "transport/channel.h"
#include "transport/tcp/client_call.h"
#include "transport/tcp/inbox.h"
#include "transport/tcp/outbox.h"

namespace kdn::transport::tcp {

class ServerCall;
class ServerConnection;

// What calls and connections need of the server they belong to.
class ServerCallHost {
 public:
  virtual ~ServerCallHost() = default;
  [[nodiscard]] virtual ServerCall& NewCall() = 0;
  [[nodiscard]] virtual TimePoint Now() const = 0;
  // The request is complete: for the service, and to be watched for its deadline.
  virtual void Deliver(ServerCall& call) = 0;
  virtual void TellAbandoned(ServerCall& call) = 0;
  virtual void TellArrived(ServerCall& call, std::uint32_t piece, std::size_t size_bytes) = 0;
  // To be told to the service as OnMoved() as soon as that is allowed.
  virtual void AddMoved(ServerCall& call, std::uint32_t piece, Code code) = 0;
  // Something was queued on the connection.
  virtual void AddDirty(ServerConnection& connection) = 0;
  // Nothing refers to the call any more.
  virtual void Recycle(ServerCall& call) = 0;
};

class ServerCall final : public Exchange, public OutSink {
 public:
  explicit ServerCall(ServerCallHost& host) : host_(&host) { stream_.sink = this; }

  // Exchange. Destroying it gives it back to the host, if that still exists.
  static void operator delete(ServerCall* call, std::destroying_delete_t);
  [[nodiscard]] ConstBytes request() const override { return request_.bytes(); }
  [[nodiscard]] const Peer& peer() const override { return peer_; }
  [[nodiscard]] std::size_t send_bulk_bytes() const override { return send_bulk_bytes_; }
  [[nodiscard]] std::size_t receive_bulk_bytes() const override { return receive_bulk_bytes_; }
  void SendPiece(std::uint32_t piece, std::size_t offset,
                 std::span<const ConstBytes> from) override;
  void ReceivePiece(std::uint32_t piece, std::size_t offset,
                    std::span<const MutableBytes> into) override;
  void Finish(Code code, ConstBytes response) override;

  // The server's side.
  // Begins a new life as the call of this header.
  // `place`: where its bulk lies in shared memory, if it does.
  void Begin(ServerConnection& connection, const Peer& peer, const FrameHeader& header,
             TimePoint deadline, const shm::SharedPlace& place);
  [[nodiscard]] Buffer& request_buffer() { return request_; }
  [[nodiscard]] std::uint32_t id() const { return stream_.call; }
  [[nodiscard]] TimePoint deadline() const override { return deadline_; }
  // The service holds it from here on.
  void HandOver() { held_ = true; }
  // The caller does not wait any more: what is in flight reports `code`. True if the service has
  // still to be told.
  [[nodiscard]] bool Abandon(Code code);
  // The server is gone: the service may keep the call, which does nothing from here on.
  void Orphan() { host_ = nullptr; }
  // One AddMoved() was told, or dropped because the service has let go. True if it is to be told.
  [[nodiscard]] bool TakeMoved();
  // A slice, or the end, of a piece that was asked for.
  [[nodiscard]] Landing OnSlice(const FrameHeader& header);
  void OnSliceLanded(const FrameHeader& header, std::size_t filled);
  [[nodiscard]] bool OnPieceEnd(const FrameHeader& header);
  // Copies what was asked of the caller's shared memory, about `budget` bytes at most; returns how
  // many. More is left while WantsCopies().
  std::size_t CopyPulls(std::size_t budget);
  [[nodiscard]] bool WantsCopies() const { return stream_.place.valid() && pull_count_ > 0; }
  // Gives it back unless something still refers to it.
  void MaybeRecycle();
  [[nodiscard]] bool held() const { return held_; }
  static void Destroy(ServerCall* call);

  std::size_t connection_index = 0;  // among the connection's calls; its bookkeeping

 private:
  struct Pull {
    std::uint32_t piece = 0;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::vector<MutableBytes> into;
  };

  void OnPieceOut(std::uint32_t piece, Code code) override;
  void OnStreamEmpty() override;
  void OnMessageOut() override;
  void Release();
  void SendPulls();
  void SendResponse();
  void DropPulls(Code code);
  void Detach();
  void DetachIfDone();
  void AddMoved(std::uint32_t piece, Code code);
  Pull& PullAt(std::size_t index) { return pulls_[(pull_first_ + index) % pulls_.size()]; }

  ServerCallHost* host_;
  ServerConnection* connection_ = nullptr;  // null once the call has ended for the connection
  Peer peer_;
  Buffer request_;
  Buffer response_;
  std::size_t send_bulk_bytes_ = 0;
  std::size_t receive_bulk_bytes_ = 0;
  TimePoint deadline_{};
  OutStream stream_;
  std::uint32_t pieces_out_ = 0;  // SendPiece() that the outbox has
  // ReceivePiece() in order: a ring of pull_count_, of which the first pulls_sent_ are asked for.
  std::vector<Pull> pulls_;
  std::size_t pull_first_ = 0;
  std::size_t pull_count_ = 0;
  std::size_t pulls_sent_ = 0;
  Scatter landing_;  // of the first pull, once its first slice is here
  bool landing_open_ = false;
  std::uint32_t moved_pending_ = 0;  // AddMoved() not told yet
  Code code_ = Code::kOk;
  bool held_ = false;
  bool finished_ = false;
  bool abandoned_ = false;
  bool response_in_flight_ = false;
  bool response_sent_ = false;
};

}  // namespace kdn::transport::tcp
