#include "transport/tcp/tcp_domain.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "transport/hello.h"
#include "transport/lanes/laned_channel.h"
#include "transport/lanes/mover.h"
#include "transport/regions.h"
#include "transport/tcp/resolver.h"
#include "transport/tcp/socket.h"
#include "transport/tcp/tcp_channel.h"
#include "transport/tcp/tcp_server.h"

namespace kdn::transport::tcp {
namespace {

constexpr std::uint32_t kConnectionsMax = 16;
constexpr std::uint32_t kThreadsMax = 16;

Status CheckPlaintext(const Address& address, bool insecure) {
  if (insecure || address.IsLoopback()) return Status();
  return Status(Code::kFailedPrecondition,
                address.ToString() +
                    " is not a loopback address, and plaintext off loopback needs "
                    "insecure = true");
}

// Sends all of `out`, a few hundred bytes, and empties it.
Status SendAll(int fd, std::vector<std::byte>& out, const Clock& clock, TimePoint deadline) {
  for (std::size_t sent = 0; sent < out.size();) {
    const ssize_t n = send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
    } else if (errno != EINTR && (errno != EAGAIN || !WaitFor(fd, POLLOUT, clock, deadline))) {
      return Status(Code::kUnavailable, "the peer went away during the Hello");
    }
  }
  out.clear();
  return Status();
}

Status SayHello(int fd, const Identity& identity, const Nonce& nonce, const Clock& clock,
                TimePoint deadline) {
  std::vector<std::byte> out;
  HelloClient hello(identity, nonce, out);
  std::array<std::byte, 1024> in;
  for (;;) {
    KDN_RETURN_IF_ERROR(SendAll(fd, out, clock, deadline));
    if (hello.state() == HelloState::kAccepted) return Status();
    if (hello.state() == HelloState::kRefused) return hello.status();
    if (!WaitFor(fd, POLLIN, clock, deadline)) {
      return Status(Code::kUnavailable, "the peer did not answer the Hello in time");
    }
    const ssize_t got = recv(fd, in.data(), std::min(hello.wanted(), in.size()), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return Status(Code::kUnavailable, "the peer closed during the Hello");
    hello.Feed({in.data(), static_cast<std::size_t>(got)}, out);
  }
}

class TcpDomain final : public Domain, public NonceSource {
 public:
  TcpDomain(const Options& options, const Clock& clock, Random& random, Log& log)
      : options_(options), clock_(clock), random_(random), log_(log) {}

  // Starts the threads that move bulk beside those that poll channels.
  Status StartMovers();

  Status Register(const MemoryRegion& region) override { return regions_.Register(region); }
  Status Unregister(const std::byte* address) override { return regions_.Unregister(address); }

  Result<std::unique_ptr<Channel>> Connect(std::string_view endpoint, const Identity& identity,
                                           TimePoint deadline) override;
  Result<std::unique_ptr<Server>> Listen(std::string_view endpoint, const ClusterId& cluster,
                                         const PeerId& self, Service& service,
                                         const Authenticator& authenticator) override;

  Nonce NextNonce() override {
    const std::lock_guard lock(random_mutex_);
    Nonce nonce;
    random_.Fill(nonce);
    return nonce;
  }

 private:
  [[nodiscard]] Result<std::unique_ptr<Channel>> MakeChannel(std::vector<Fd> sockets);

  const Options options_;
  const Clock& clock_;
  Random& random_;  // used under random_mutex_
  std::mutex random_mutex_;
  Log& log_;
  RegionTable regions_;
  std::vector<std::unique_ptr<lanes::Mover>> movers_;
  std::atomic<std::size_t> next_home_{0};  // of channels, dealt out in turn
  std::atomic<std::size_t> owner_calls_{0};
  Resolver resolver_{[](const std::string& endpoint) { return Resolve(endpoint); }};
};

Result<std::unique_ptr<Channel>> TcpDomain::Connect(std::string_view endpoint,
                                                    const Identity& identity, TimePoint deadline) {
  KDN_ASSIGN_OR_RETURN(const Address address, resolver_.Resolve(endpoint, clock_, deadline));
  if (Status plain = CheckPlaintext(address, options_.insecure); !plain.ok()) {
    return std::unexpected(plain);
  }
  if (identity.scheme == HelloScheme::kTls) {
    return Error(Code::kUnimplemented, "this build does not speak TLS");
  }
  if (identity.scheme == HelloScheme::kNone && !address.IsLoopback()) {
    return Error(Code::kFailedPrecondition, "scheme none is for loopback only");
  }
  const SocketOptions socket_options{options_.congestion_control, options_.connection_rate_max};
  std::vector<Fd> sockets;
  for (std::uint32_t i = 0; i < options_.connections; ++i) {
    KDN_ASSIGN_OR_RETURN(Fd fd, Dial(address, socket_options, clock_, deadline));
    const Status said = SayHello(fd.get(), identity, NextNonce(), clock_, deadline);
    if (!said.ok()) {
      return Error(said.code(), std::string(endpoint) + ": " + said.message());
    }
    sockets.push_back(std::move(fd));
  }
  return MakeChannel(std::move(sockets));
}

Status TcpDomain::StartMovers() {
  for (std::uint32_t i = 1; i < options_.threads; ++i) {
    auto mover = lanes::Mover::Start(clock_, options_.spin);
    if (!mover) return mover.error();
    movers_.push_back(*std::move(mover));
  }
  return Status();
}

// Connections are dealt out to the polling thread and the movers in turn.
Result<std::unique_ptr<Channel>> TcpDomain::MakeChannel(std::vector<Fd> sockets) {
  if (movers_.empty()) {
    return std::make_unique<TcpChannel>(std::move(sockets), options_.queue_depth, regions_, clock_);
  }
  std::vector<std::vector<Fd>> shares(options_.threads);
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    shares[i % shares.size()].push_back(std::move(sockets[i]));
  }
  lanes::LanedSetup setup;
  setup.home = next_home_.fetch_add(1) % options_.threads;
  setup.owner_calls = &owner_calls_;
  setup.queue_depth = options_.queue_depth;
  setup.regions = &regions_;
  const std::uint32_t depth = 2 * options_.queue_depth;
  setup.own = std::make_unique<TcpChannel>(std::move(shares.front()), depth, regions_, clock_);
  for (std::size_t i = 1; i < shares.size(); ++i) {
    setup.moved.push_back(
        std::make_unique<TcpChannel>(std::move(shares[i]), depth, regions_, clock_));
    setup.movers.push_back(movers_[i - 1].get());
  }
  KDN_ASSIGN_OR_RETURN(auto channel, lanes::LanedChannel::Make(std::move(setup)));
  return channel;
}

Result<std::unique_ptr<Server>> TcpDomain::Listen(std::string_view endpoint,
                                                  const ClusterId& cluster, const PeerId& self,
                                                  Service& service,
                                                  const Authenticator& authenticator) {
  KDN_ASSIGN_OR_RETURN(const Address address, Resolve(endpoint));
  if (Status plain = CheckPlaintext(address, options_.insecure); !plain.ok()) {
    return std::unexpected(plain);
  }
  KDN_ASSIGN_OR_RETURN(Fd listener, ListenOn(address));
  ServerSetup setup;
  setup.policy = {cluster, self, &authenticator, 0};
  setup.socket_options = {options_.congestion_control, options_.connection_rate_max};
  setup.connections_max = options_.connections_max;
  setup.service = &service;
  setup.clock = &clock_;
  setup.nonces = this;
  setup.log = &log_;
  return std::make_unique<TcpServer>(std::move(listener), setup);
}

}  // namespace

Result<std::unique_ptr<Domain>> OpenTcpDomain(const Options& options, const Clock& clock,
                                              Random& random, Log& log) {
  Options effective = options;
  if (effective.connections == 0) {
    effective.connections = std::clamp(std::thread::hardware_concurrency(), 1U, 4U);
  }
  if (effective.threads == 0 || effective.threads > kThreadsMax) {
    return Error(Code::kInvalidArgument, "threads must be between 1 and 16");
  }
  effective.connections = std::max(effective.connections, effective.threads);
  if (effective.connections > kConnectionsMax) {
    return Error(Code::kInvalidArgument, "connections must be at most 16");
  }
  if (effective.queue_depth == 0 || effective.queue_depth > limits::kCallsPerConnectionMax) {
    return Error(Code::kInvalidArgument, "queue_depth must be between 1 and 1024");
  }
  auto domain = std::make_unique<TcpDomain>(effective, clock, random, log);
  if (Status started = domain->StartMovers(); !started.ok()) return std::unexpected(started);
  return domain;
}

}  // namespace kdn::transport::tcp
