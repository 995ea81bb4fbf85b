#include "transport/loopback/loopback.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "transport/hello.h"
#include "transport/loopback/loopback_channel.h"
#include "transport/loopback/loopback_server.h"
#include "transport/loopback/pipe.h"

namespace kdn::transport::loopback {

class Network {
 public:
  explicit Network(Faults* faults) : faults_(faults) {}

  Result<std::unique_ptr<Server>> Listen(std::string_view endpoint, const HelloPolicy& policy,
                                         std::uint32_t connections_max, Service& service,
                                         const Clock& clock);
  Result<std::shared_ptr<Pipe>> Connect(std::string_view endpoint, const Identity& identity,
                                        const Nonce& client_nonce, const Nonce& server_nonce);

 private:
  std::mutex mutex_;
  std::map<std::string, LoopbackServer*, std::less<>> servers_;  // guarded by mutex_
  std::uint32_t next_port_ = 1;                                  // guarded by mutex_
  Faults* faults_;
};

std::shared_ptr<Network> NewNetwork(Faults* faults) {
  return std::make_shared<Network>(faults);
}

Result<std::unique_ptr<Server>> Network::Listen(std::string_view endpoint,
                                                const HelloPolicy& policy,
                                                std::uint32_t connections_max, Service& service,
                                                const Clock& clock) {
  const std::lock_guard lock(mutex_);
  std::string name(endpoint);
  if (name.ends_with(":0")) name = name.substr(0, name.size() - 1) + std::to_string(next_port_++);
  if (servers_.contains(name)) {
    return Error(Code::kUnavailable, "cannot listen on " + name + ": it is in use");
  }
  auto server =
      std::make_unique<LoopbackServer>(name, policy, connections_max, service, clock, [this, name] {
        const std::lock_guard closing(mutex_);
        servers_.erase(name);
      });
  servers_.emplace(name, server.get());
  return server;
}

Result<std::shared_ptr<Pipe>> Network::Connect(std::string_view endpoint, const Identity& identity,
                                               const Nonce& client_nonce,
                                               const Nonce& server_nonce) {
  const std::lock_guard lock(mutex_);
  const auto it = servers_.find(endpoint);
  if (it == servers_.end()) {
    return Error(Code::kUnavailable, "nothing listens on " + std::string(endpoint));
  }
  LoopbackServer& server = *it->second;
  std::vector<std::byte> to_server;
  std::vector<std::byte> to_client;
  HelloClient client(identity, client_nonce, to_server);
  HelloServer answering(server.policy(), server_nonce, /*over_loopback=*/true);
  while (client.state() == HelloState::kTalking && !(to_server.empty() && to_client.empty())) {
    answering.Feed(std::exchange(to_server, {}), to_client);
    client.Feed(std::exchange(to_client, {}), to_server);
  }
  if (client.state() != HelloState::kAccepted) {
    return Error(client.status().code(), std::string(endpoint) + ": " + client.status().message());
  }
  std::shared_ptr<Pipe> pipe = server.Accept(answering.peer(), faults_);
  if (pipe == nullptr) return Error(Code::kUnavailable, "too many connections");
  return pipe;
}

namespace {

class LoopbackDomain final : public Domain {
 public:
  LoopbackDomain(std::shared_ptr<Network> network, const Options& options, const Clock& clock,
                 Random& random)
      : network_(std::move(network)), options_(options), clock_(clock), random_(random) {}

  Status Register(const MemoryRegion& region) override { return regions_.Register(region); }
  Status Unregister(const std::byte* address) override { return regions_.Unregister(address); }

  Result<std::unique_ptr<Channel>> Connect(std::string_view endpoint, const Identity& identity,
                                           TimePoint) override {
    if (identity.scheme == HelloScheme::kTls) {
      return Error(Code::kUnimplemented, "this build does not speak TLS");
    }
    KDN_ASSIGN_OR_RETURN(std::shared_ptr<Pipe> pipe,
                         network_->Connect(endpoint, identity, NextNonce(), NextNonce()));
    return std::make_unique<LoopbackChannel>(std::move(pipe), options_.queue_depth, regions_,
                                             clock_);
  }

  Result<std::unique_ptr<Server>> Listen(std::string_view endpoint, const ClusterId& cluster,
                                         const PeerId& self, Service& service,
                                         const Authenticator& authenticator) override {
    return network_->Listen(endpoint, {cluster, self, &authenticator, 0}, options_.connections_max,
                            service, clock_);
  }

 private:
  Nonce NextNonce() {
    const std::lock_guard lock(random_mutex_);
    Nonce nonce;
    random_.Fill(nonce);
    return nonce;
  }

  std::shared_ptr<Network> network_;
  const Options options_;
  const Clock& clock_;
  Random& random_;  // used under random_mutex_
  std::mutex random_mutex_;
  RegionTable regions_;
};

}  // namespace

Result<std::unique_ptr<Domain>> OpenLoopbackDomain(std::shared_ptr<Network> network,
                                                   const Options& options, const Clock& clock,
                                                   Random& random) {
  if (options.queue_depth == 0) {
    return Error(Code::kInvalidArgument, "queue_depth must be at least 1");
  }
  return std::make_unique<LoopbackDomain>(std::move(network), options, clock, random);
}

Result<std::unique_ptr<Domain>> OpenLoopbackDomain(const Options& options, const Clock& clock,
                                                   Random& random, Log&) {
  return OpenLoopbackDomain(NewNetwork(), options, clock, random);
}

}  // namespace kdn::transport::loopback
