// A Channel over several TCP connections; each call lives on one of them.
//
// Thread-safety: as Channel says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/channel.h"
#include "transport/regions.h"
#include "transport/tcp/client_call.h"
#include "transport/tcp/client_connection.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::tcp {

class TcpChannel final : public Channel {
 public:
  // `sockets` are connected and have an accepted Hello behind them; `share`, which may be null, is
  // what their server was shown. `regions` and `clock` outlive the channel.
  TcpChannel(std::vector<Fd> sockets, std::uint32_t queue_depth, const RegionTable& regions,
             const Clock& clock, std::unique_ptr<shm::ClientShare> share = nullptr);
  ~TcpChannel() override;

  Status Submit(const Call& call) override;
  void Cancel(std::uint64_t tag) override;
  std::size_t Poll(std::span<Event> events) override;
  [[nodiscard]] int WaitFd() const override { return epoll_.get(); }
  [[nodiscard]] std::uint64_t BytesReceived() const override;
  [[nodiscard]] bool Alive() const override;

 private:
  [[nodiscard]] ClientConnection* LeastLoaded();
  Status Fill(ClientCall& to, const Call& from);
  // Lends the call's bulk to the server, if it is one run of bytes in memory that it was shown.
  void Lend(ClientCall& call);
  void PollSockets();
  void ExpireCalls(TimePoint now);
  // Asks for exactly those events that the connection has a use for.
  void Watch(ClientConnection& connection);

  const Clock& clock_;
  RegionView regions_;
  std::unique_ptr<shm::ClientShare> share_;
  ClientCalls calls_;
  ZeroBlock zeros_;
  Fd epoll_;
  WakeTimer timer_;
  std::vector<std::unique_ptr<ClientConnection>> connections_;
  std::size_t next_connection_ = 0;
  TimePoint next_deadline_ = TimePoint::max();  // no open call has an earlier one
};

}  // namespace kdn::transport::tcp
