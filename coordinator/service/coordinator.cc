#include "coordinator/service/coordinator.h"

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/secret_file.h"
#include "coordinator/core/core.h"
#include "coordinator/core/hard_state.h"
#include "coordinator/metastore/metastore.h"
#include "coordinator/service/core_loop.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/rpc/admin_service.h"
#include "coordinator/service/rpc/callers.h"
#include "coordinator/service/rpc/contexts_service.h"
#include "coordinator/service/rpc/directory_service.h"
#include "coordinator/service/rpc/events_service.h"
#include "coordinator/service/rpc/load_service.h"
#include "coordinator/service/rpc/membership_service.h"
#include "coordinator/tenants.h"
#include "transport/channel.h"
#include "transport/status/status_server.h"

namespace kdn::coordinator {
namespace {

constexpr int kGrpcMessageBytesMax = 8 << 20;
constexpr std::chrono::milliseconds kGrpcGrace{200};

CoreOptions OptionsOf(const CoordinatorConfig& config, std::vector<std::byte> secret) {
  using std::chrono::milliseconds;
  return {.membership = {.dead_after = milliseconds(config.dead_after_ms),
                         .forget_after = milliseconds(config.forget_after_ms),
                         .ramp = milliseconds(config.ramp_ms)},
          .puts = {.replicas = static_cast<std::uint32_t>(config.replicas),
                   .expiry = milliseconds(config.put_expiry_ms)},
          .placement = config.placement,
          .cluster_secret = std::move(secret)};
}

// Takes over the tenants of the file; without one those of the last start stay.
Status UpdateTenants(const CoordinatorConfig& config, Metastore& metastore, HardState& state) {
  if (config.tenants_file.empty()) return Status();
  Result<std::vector<Tenant>> tenants = ReadTenants(config.tenants_file);
  if (!tenants) return tenants.error();
  MetaBatch batch;
  PutTenants(state.tenants, *tenants, batch);
  if (!batch.empty()) KDN_RETURN_IF_ERROR(metastore.Write(batch));
  state.tenants = std::move(*tenants);
  return Status();
}

}  // namespace

struct Coordinator::Impl {
  explicit Impl(Random& random_source) : random(random_source) {}
  // Questions of gRPC's threads are answered before the threads are waited for.
  ~Impl() {
    status.reset();
    if (loop != nullptr) loop->Stop();
    if (grpc != nullptr) grpc->Shutdown(std::chrono::system_clock::now() + kGrpcGrace);
  }

  Status OpenState(const CoordinatorConfig& config);
  Status StartLoop(const CoordinatorConfig& config, const Clock& clock, Log& log);
  Status StartGrpc(const CoordinatorConfig& config);
  Status StartStatus(const CoordinatorConfig& config);

  Random& random;
  MetricRegistry metrics;
  std::vector<std::byte> secret;
  std::unique_ptr<Metastore> metastore;
  HardState state;
  std::unique_ptr<transport::Domain> domain;
  std::unique_ptr<Credentials> credentials;
  std::unique_ptr<Admission> admission;
  std::unique_ptr<CoreLoop> loop;
  std::unique_ptr<rpc::Callers> callers;
  std::vector<std::unique_ptr<grpc::Service>> services;
  std::unique_ptr<grpc::Server> grpc;
  std::string grpc_endpoint;
  std::unique_ptr<transport::status::StatusServer> status;  // null: none
  std::string status_endpoint;
};

Status Coordinator::Impl::OpenState(const CoordinatorConfig& config) {
  if (!config.cluster_secret_file.empty()) {
    auto read = ReadSecretFile(config.cluster_secret_file);
    if (!read) return read.error();
    secret = std::move(*read);
  }
  std::error_code error;
  std::filesystem::create_directories(config.data_dir, error);
  if (error) {
    return Status(Code::kFailedPrecondition,
                  "coordinator.data_dir = \"" + config.data_dir + "\": " + error.message());
  }
  auto opened = OpenMetastore(config.metastore, MetastoreFolder(config));
  if (!opened) return opened.error();
  metastore = std::move(*opened);
  ClusterId wanted;
  if (!config.cluster_id.empty()) (void)FromHex(config.cluster_id, wanted);
  auto reign = BeginReign(*metastore, wanted, random);
  if (!reign) return reign.error();
  state = std::move(*reign);
  return UpdateTenants(config, *metastore, state);
}

Status Coordinator::Impl::StartLoop(const CoordinatorConfig& config, const Clock& clock, Log& log) {
  transport::Options options;
  options.kind = config.transport;
  options.connections = 1;  // to nodes; its calls are small
  options.insecure = config.insecure;
  auto opened = transport::OpenDomain(options, clock, random, log);
  if (!opened) return opened.error();
  domain = std::move(*opened);
  auto core = Core::Make(OptionsOf(config, secret), state, random, clock.Now());
  if (!core) return core.error();
  const auto scheme =
      secret.empty() ? transport::HelloScheme::kNone : transport::HelloScheme::kHmac;
  const transport::Identity identity{.cluster = state.cluster,
                                     .role = transport::PeerRole::kCoordinator,
                                     .tenant = {},
                                     .peer = RandomId<PeerId>(random),
                                     .host = {},
                                     .scheme = scheme,
                                     .secret = secret};
  credentials = std::make_unique<Credentials>(state.tenants, secret, state.epoch);
  std::map<TenantId, TenantRate> rates;
  for (const Tenant& tenant : state.tenants) rates[tenant.id] = tenant.rate;
  const TenantRate usual{static_cast<std::uint32_t>(config.tenant_requests_max), 0};
  admission = std::make_unique<Admission>(rates, usual, clock, metrics);
  loop = std::make_unique<CoreLoop>(
      std::move(*core), CoreLoop::Surroundings{*metastore, *domain, identity, *credentials, clock,
                                               log, metrics, *admission, config.RequestLinesOf()});
  return loop->Start(config.listen);
}

Status Coordinator::Impl::StartGrpc(const CoordinatorConfig& config) {
  callers = std::make_unique<rpc::Callers>(secret);
  services.push_back(std::make_unique<rpc::MembershipService>(*loop, *callers, state.cluster,
                                                              state.epoch, state.tenants));
  services.push_back(std::make_unique<rpc::ContextsService>(*loop, *callers));
  services.push_back(std::make_unique<rpc::DirectoryService>(*loop, *callers));
  services.push_back(
      std::make_unique<rpc::AdminService>(*loop, *callers, state.cluster, state.epoch));
  services.push_back(std::make_unique<rpc::EventsService>(*loop, *callers));
  services.push_back(
      std::make_unique<rpc::LoadService>(*loop, *callers, state.cluster, state.epoch, metrics));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kGrpcMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  int port = 0;
  builder.AddListeningPort(config.grpc_listen, grpc::InsecureServerCredentials(), &port);
  for (const auto& service : services) builder.RegisterService(service.get());
  grpc = builder.BuildAndStart();
  if (grpc == nullptr || port == 0) {
    return Status(Code::kUnavailable,
                  "coordinator.grpc_listen = \"" + config.grpc_listen + "\": cannot listen there");
  }
  grpc_endpoint =
      config.grpc_listen.substr(0, config.grpc_listen.rfind(':')) + ":" + std::to_string(port);
  return Status();
}

Status Coordinator::Impl::StartStatus(const CoordinatorConfig& config) {
  if (config.status_listen.empty()) return Status();
  auto started = transport::status::StatusServer::Start(
      config.status_listen, metrics, [this] { return loop->ready(); }, config.insecure);
  if (!started) return started.error();
  status = std::move(*started);
  status_endpoint = status->endpoint();
  return Status();
}

Coordinator::Coordinator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Coordinator::~Coordinator() = default;

Result<std::unique_ptr<Coordinator>> Coordinator::Start(const CoordinatorConfig& config,
                                                        const Clock& clock, Random& random,
                                                        Log& log) {
  auto impl = std::make_unique<Impl>(random);
  if (Status status = impl->OpenState(config); !status.ok()) return std::unexpected(status);
  if (Status status = impl->StartLoop(config, clock, log); !status.ok()) {
    return std::unexpected(status);
  }
  if (Status status = impl->StartGrpc(config); !status.ok()) return std::unexpected(status);
  if (Status status = impl->StartStatus(config); !status.ok()) return std::unexpected(status);
  log.Write(LogLevel::kInfo, "coordinator started",
            {{"cluster", ToHex(impl->state.cluster)},
             {"epoch", std::to_string(static_cast<std::uint32_t>(impl->state.epoch))},
             {"endpoint", impl->loop->endpoint()},
             {"grpc_endpoint", impl->grpc_endpoint},
             {"status_endpoint", impl->status_endpoint},
             {"tenants", std::to_string(impl->state.tenants.size())},
             {"contexts", std::to_string(impl->state.contexts.size())}});
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(impl)));
}

const std::string& Coordinator::endpoint() const {
  return impl_->loop->endpoint();
}
const std::string& Coordinator::grpc_endpoint() const {
  return impl_->grpc_endpoint;
}
const std::string& Coordinator::status_endpoint() const {
  return impl_->status_endpoint;
}
const ClusterId& Coordinator::cluster() const {
  return impl_->state.cluster;
}
Epoch Coordinator::epoch() const {
  return impl_->state.epoch;
}
MetricRegistry& Coordinator::metrics() {
  return impl_->metrics;
}

}  // namespace kdn::coordinator
