// Accepts connections and answers calls, on the thread that polls.
//
// Thread-safety: as Server says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/channel.h"
#include "transport/hello.h"
#include "transport/shm/acceptor.h"
#include "transport/tcp/server_call.h"
#include "transport/tcp/server_connection.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::tcp {

// Where nonces come from: safe to call from any thread.
class NonceSource {
 public:
  virtual ~NonceSource() = default;
  [[nodiscard]] virtual Nonce NextNonce() = 0;
};

struct ServerSetup {
  HelloPolicy policy;
  SocketOptions socket_options;
  std::uint32_t connections_max = 0;
  Service* service = nullptr;
  const Clock* clock = nullptr;
  NonceSource* nonces = nullptr;
  Log* log = nullptr;
  // Of clients on this host; both null where no memory is shared.
  const SharedMemoryOptions* shared_memory = nullptr;
  shm::MappingTable* mappings = nullptr;
};

class TcpServer final : public Server, public ServerCallHost, public shm::OfferTaker {
 public:
  // `listener` listens already. What `setup` points to outlives the server.
  TcpServer(Fd listener, const ServerSetup& setup);
  ~TcpServer() override;

  std::size_t Poll() override;
  [[nodiscard]] int WaitFd() const override { return epoll_.get(); }
  [[nodiscard]] std::string endpoint() const override { return endpoint_; }

 private:
  struct Moved {
    ServerCall* call;
    std::uint32_t piece;
    Code code;
  };

  // ServerCallHost
  [[nodiscard]] ServerCall& NewCall() override;
  [[nodiscard]] TimePoint Now() const override { return setup_.clock->Now(); }
  void Deliver(ServerCall& call) override;
  void TellAbandoned(ServerCall& call) override;
  void TellArrived(ServerCall& call, std::uint32_t piece, std::size_t size_bytes) override;
  void AddMoved(ServerCall& call, std::uint32_t piece, Code code) override;
  void AddDirty(ServerConnection& connection) override;
  void Recycle(ServerCall& call) override;

  // shm::OfferTaker
  [[nodiscard]] bool TakeOffer(std::span<const Nonce> tickets,
                               std::shared_ptr<const shm::OfferedMemory> memory) override;

  void ListenForOffers();
  void Accept();
  // Until a connection has closed.
  void PauseAccepting();
  void ResumeAccepting();
  void PollSockets();
  void TellMoved();
  void FlushDirty();
  void Expire();
  void NoteDeadline(TimePoint deadline);
  void Watch(ServerConnection& connection);
  // Destroys connections that are closed; nothing refers to them any more.
  void Reap();

  ServerSetup setup_;
  std::string endpoint_;
  ZeroBlock zeros_;
  Fd epoll_;
  Fd listener_;
  std::unique_ptr<shm::Acceptor> acceptor_;  // null where no memory is shared
  WakeTimer timer_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
  std::vector<ServerCall*> calls_;  // all there are; owned, but for those the service holds
  std::vector<ServerCall*> free_calls_;
  std::vector<Moved> moved_;
  std::vector<Moved> telling_;
  std::vector<ServerConnection*> dirty_;
  std::vector<ServerConnection*> flushing_;
  TimePoint next_deadline_ = TimePoint::max();  // nothing is due earlier
  std::size_t progress_ = 0;
  bool polling_ = false;
  bool closing_ = false;
  bool any_closed_ = false;
  bool accepting_ = false;
};

}  // namespace kdn::transport::tcp
