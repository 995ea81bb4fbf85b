#include <algorithm>
#include <utility>

#include "client/core/client_impl.h"
#include "client/remote/remote_calls.h"
#include "kdn/client.h"
#include "transport/host.h"

namespace kdn::client {
namespace {

transport::Identity IdentityOf(const ClientOptions& options, Random& random) {
  transport::Identity identity;
  identity.cluster = options.cluster;
  identity.role = transport::PeerRole::kClient;
  identity.tenant = options.tenant;
  identity.peer = RandomId<PeerId>(random);
  if (options.shared_memory) identity.host = transport::ThisHost(random);
  identity.scheme =
      options.access_secret.empty() ? transport::HelloScheme::kNone : transport::HelloScheme::kHmac;
  identity.secret = options.access_secret;
  return identity;
}

}  // namespace

Result<std::unique_ptr<Client>> OpenClient(const ClientOptions& options) {
  if (Status status = ValidateOptions(options); !status.ok()) return std::unexpected(status);
  if (options.coordinator.empty()) {
    return Error(Code::kInvalidArgument, "the coordinator's endpoint is not given");
  }
  auto context = std::make_shared<ClientContext>(options);
  context->log = options.log ? options.log : std::make_shared<NullLog>();
  transport::Options transport;
  transport.connections = options.connections;
  transport.threads = std::max(options.io_threads, 1U);
  transport.spin = options.spin;
  transport.insecure = options.insecure;
  transport.congestion_control = options.congestion_control;
  transport.shared_memory.enabled = options.shared_memory;
  KDN_ASSIGN_OR_RETURN(auto domain, transport::OpenDomain(transport, context->clock,
                                                          context->random, *context->log));
  KDN_ASSIGN_OR_RETURN(
      auto calls,
      RemoteCalls::Make(std::move(domain), IdentityOf(options, context->random),
                        options.coordinator, context->clock, *context->log, options.shared_memory));
  return MakeClient(options, std::move(context), std::move(calls));
}

}  // namespace kdn::client
