#include "transport/tcp/tcp_domain.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "transport/hello.h"
#include "transport/lanes/laned_channel.h"
#include "transport/lanes/mover.h"
#include "transport/regions.h"
#include "transport/shm/client_share.h"
#include "transport/shm/server_share.h"
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

// What the server said about sharing memory.
using Invite = std::optional<ShareInvite>;

Result<Invite> SayHello(int fd, const Identity& identity, const Nonce& nonce,
                        std::uint64_t features, const Clock& clock, TimePoint deadline) {
  std::vector<std::byte> out;
  HelloClient hello(identity, nonce, out, features);
  std::array<std::byte, 1024> in;
  for (;;) {
    if (Status sent = SendAll(fd, out, clock, deadline); !sent.ok()) return std::unexpected(sent);
    if (hello.state() == HelloState::kAccepted) return hello.share();
    if (hello.state() == HelloState::kRefused) return std::unexpected(hello.status());
    if (!WaitFor(fd, POLLIN, clock, deadline)) {
      return Error(Code::kUnavailable, "the peer did not answer the Hello in time");
    }
    const ssize_t got = recv(fd, in.data(), std::min(hello.wanted(), in.size()), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return Error(Code::kUnavailable, "the peer closed during the Hello");
    hello.Feed({in.data(), static_cast<std::size_t>(got)}, out);
  }
}

// A bound on what connections send would mean nothing beside shared memory.
bool SharesMemory(const Options& options) {
  return options.shared_memory.enabled && options.connection_rate_max == 0;
}

std::uint64_t FeaturesOf(const Options& options) {
  return SharesMemory(options) ? kFeatureSharedMemory : 0;
}

// Connections to one server, and what it said about sharing memory on each.
struct Link {
  std::vector<Fd> sockets;
  std::vector<ShareInvite> invites;
};

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
  [[nodiscard]] std::unique_ptr<Channel> OpenLane(Link link, std::uint32_t queue_depth,
                                                  TimePoint deadline);
  [[nodiscard]] Result<std::unique_ptr<Channel>> MakeChannel(Link link, TimePoint deadline);

  const Options options_;
  const Clock& clock_;
  Random& random_;  // used under random_mutex_
  std::mutex random_mutex_;
  Log& log_;
  RegionTable regions_;
  shm::MappingTable mappings_{options_.shared_memory};
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
  Link link;
  for (std::uint32_t i = 0; i < options_.connections; ++i) {
    KDN_ASSIGN_OR_RETURN(Fd fd, Dial(address, socket_options, clock_, deadline));
    auto said = SayHello(fd.get(), identity, NextNonce(), FeaturesOf(options_), clock_, deadline);
    if (!said) {
      return Error(said.error().code(), std::string(endpoint) + ": " + said.error().message());
    }
    if (*said) link.invites.push_back(**said);
    link.sockets.push_back(std::move(fd));
  }
  return MakeChannel(std::move(link), deadline);
}

Status TcpDomain::StartMovers() {
  for (std::uint32_t i = 1; i < options_.threads; ++i) {
    auto mover = lanes::Mover::Start(clock_, options_.spin);
    if (!mover) return mover.error();
    movers_.push_back(*std::move(mover));
  }
  return Status();
}

// One that shares no memory if the server does not take it: then everything goes through sockets.
std::unique_ptr<Channel> TcpDomain::OpenLane(Link link, std::uint32_t queue_depth,
                                             TimePoint deadline) {
  std::unique_ptr<shm::ClientShare> share;
  const bool invited = !link.invites.empty() && link.invites.size() == link.sockets.size();
  if (invited && !regions_.Shareable(1).empty()) {
    auto offered = shm::ClientShare::Offer(link.invites, regions_, clock_, deadline);
    if (offered) {
      share = *std::move(offered);
    } else {
      log_.Write(LogLevel::kInfo, "no memory is shared with a server of this host",
                 {{"why", offered.error().ToString()}});
    }
  }
  return std::make_unique<TcpChannel>(std::move(link.sockets), queue_depth, regions_, clock_,
                                      std::move(share));
}

// Connections are dealt out to the polling thread and the movers in turn.
Result<std::unique_ptr<Channel>> TcpDomain::MakeChannel(Link link, TimePoint deadline) {
  if (movers_.empty()) return OpenLane(std::move(link), options_.queue_depth, deadline);
  std::vector<Link> shares(options_.threads);
  for (std::size_t i = 0; i < link.sockets.size(); ++i) {
    Link& share = shares[i % shares.size()];
    share.sockets.push_back(std::move(link.sockets[i]));
    if (i < link.invites.size()) share.invites.push_back(link.invites[i]);
  }
  lanes::LanedSetup setup;
  setup.home = next_home_.fetch_add(1) % options_.threads;
  setup.owner_calls = &owner_calls_;
  setup.queue_depth = options_.queue_depth;
  setup.regions = &regions_;
  const std::uint32_t depth = 2 * options_.queue_depth;
  setup.own = OpenLane(std::move(shares.front()), depth, deadline);
  for (std::size_t i = 1; i < shares.size(); ++i) {
    setup.moved.push_back(OpenLane(std::move(shares[i]), depth, deadline));
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
  setup.policy = {cluster, self, &authenticator, FeaturesOf(options_), options_.shared_memory.host};
  setup.socket_options = {options_.congestion_control, options_.connection_rate_max};
  // What the system does not have is said now, not to every connection.
  Status known = SetCongestionControl(listener.get(), options_.congestion_control);
  if (!known.ok()) return std::unexpected(std::move(known));
  setup.connections_max = options_.connections_max;
  setup.service = &service;
  setup.clock = &clock_;
  setup.nonces = this;
  setup.log = &log_;
  if (SharesMemory(options_) && !options_.shared_memory.host.IsZero()) {
    setup.shared_memory = &options_.shared_memory;
    setup.mappings = &mappings_;
  }
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
