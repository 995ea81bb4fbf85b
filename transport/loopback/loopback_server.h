// The answering end of all loopback pipes of one endpoint. Thread-safety: as Server says; Accept()
// is safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/channel.h"
#include "transport/hello.h"
#include "transport/loopback/pipe.h"
#include "transport/wakeup.h"

namespace kdn::transport::loopback {

class LoopbackServer;

// One call; queues what the service wants until the server polls.
class LoopbackExchange final : public Exchange {
 public:
  LoopbackExchange(LoopbackServer& server, std::shared_ptr<Pipe> pipe, CallPtr call)
      : server_(&server), pipe_(std::move(pipe)), call_(std::move(call)) {}
  ~LoopbackExchange() override;

  [[nodiscard]] ConstBytes request() const override { return call_->request; }
  [[nodiscard]] const Peer& peer() const override { return pipe_->client(); }
  [[nodiscard]] TimePoint deadline() const override { return call_->deadline; }
  [[nodiscard]] std::size_t send_bulk_bytes() const override { return call_->send_bulk_bytes; }
  [[nodiscard]] std::size_t receive_bulk_bytes() const override { return call_->window.size(); }
  void SendPiece(std::uint32_t piece, std::size_t offset,
                 std::span<const ConstBytes> from) override;
  void ReceivePiece(std::uint32_t piece, std::size_t offset,
                    std::span<const MutableBytes> into) override;
  void Finish(Code code, ConstBytes response) override;

 private:
  friend class LoopbackServer;
  struct Piece {
    std::uint32_t number = 0;
    std::size_t offset = 0;
    std::vector<ConstBytes> from;
    std::vector<MutableBytes> into;  // of ReceivePiece()
    bool receives = false;
    Code refused = Code::kOk;  // it does not move at all
  };
  void Queue(Piece piece, std::size_t size, std::size_t room);
  void EndIfDue();

  LoopbackServer* server_;  // null once the server is gone
  std::shared_ptr<Pipe> pipe_;
  CallPtr call_;
  std::deque<Piece> pieces_;
  bool finished_ = false;
  bool answered_ = false;
  bool abandoned_ = false;
  Code code_ = Code::kOk;
  std::vector<std::byte> response_;
};

class LoopbackServer final : public Server {
 public:
  // `on_close` is called first in the destructor, and lets no new pipe come. What `policy`
  // points to, `service` and `clock` outlive the server.
  LoopbackServer(std::string endpoint, const HelloPolicy& policy, std::uint32_t connections_max,
                 Service& service, const Clock& clock, std::function<void()> on_close);
  ~LoopbackServer() override;

  std::size_t Poll() override;
  [[nodiscard]] int WaitFd() const override { return epoll_.get(); }
  [[nodiscard]] std::string endpoint() const override { return endpoint_; }

  [[nodiscard]] const HelloPolicy& policy() const { return policy_; }
  // A new pipe; null if there are too many.
  [[nodiscard]] std::shared_ptr<Pipe> Accept(const Peer& client, Faults* faults);

 private:
  friend class LoopbackExchange;
  void AddDirty() { signal_.Raise(); }
  void Forget(LoopbackExchange* exchange);
  void TakeCalls();
  void MovePieces(LoopbackExchange& exchange);
  void TellAbandoned(TimePoint now);
  [[nodiscard]] bool IsLive(const LoopbackExchange* exchange) const;

  std::string endpoint_;
  HelloPolicy policy_;
  std::uint32_t connections_max_;
  Service& service_;
  const Clock& clock_;
  std::function<void()> on_close_;
  Signal signal_;
  WakeTimer timer_;
  Fd epoll_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Pipe>> pipes_;  // guarded by mutex_
  std::vector<LoopbackExchange*> exchanges_;  // the service owns them
  std::size_t progress_ = 0;
};

}  // namespace kdn::transport::loopback
