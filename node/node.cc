#include "node/node.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/limits.h"
#include "proto/kdn/v1/credential.h"
#include "transport/host.h"

namespace kdn::node {

Node::Node(const NodeConfig& config, const NodeEnvironment& environment)
    : config_(config),
      environment_(environment),
      metrics_(environment.registry),
      memory_(static_cast<std::uint32_t>(config.shed_memory_percent), environment.registry),
      cluster_key_(environment.cluster_secret),
      authenticator_(state_, environment.cluster_secret),
      outbox_(static_cast<std::uint32_t>(config.shards)),
      cluster_(environment.cluster),
      host_(transport::ThisHost(environment.random)),
      domain_(environment.domain) {}

Result<std::unique_ptr<Node>> Node::Open(const NodeConfig& config,
                                         const NodeEnvironment& environment,
                                         const std::stop_token& stop) {
  std::unique_ptr<Node> node(new Node(config, environment));
  if (Status status = node->OpenParts(stop); !status.ok()) return std::unexpected(status);
  return node;
}

Status Node::OpenParts(const std::stop_token& stop) {
  KDN_RETURN_IF_ERROR(OpenDisk());
  KDN_RETURN_IF_ERROR(LearnWhoWeAre(stop));
  epochs_ = std::make_unique<EpochKeeper>(*local_, state_, environment_.log);
  KDN_RETURN_IF_ERROR(OpenShards());
  memory_.SetBase();
  for (const auto& shard : shards_) shard->Start();
  if (!config_.coordinator.empty()) StartRegistrar();
  return {};
}

Status Node::OpenDisk() {
  std::error_code error;
  std::filesystem::create_directories(config_.data_dir, error);
  if (error) {
    return Status(Code::kFailedPrecondition, config_.data_dir + ": " + error.message());
  }
  if (config_.HasDisk()) {
    auto disk = storage::OpenRocksTier(
        {.folder = config_.data_dir + "/objects",
         .sync = config_.sync,
         .threads = static_cast<std::uint32_t>(config_.disk_threads),
         .bytes_max = static_cast<std::uint64_t>(config_.disk_mib_max) * limits::kMiB,
         .reclaim_every = std::chrono::milliseconds(config_.disk_reclaim_ms),
         .garbage_share_max = static_cast<double>(config_.disk_garbage_percent) / 100});
    if (!disk) return disk.error();
    disk_ = *std::move(disk);
  }
  local_ = std::make_unique<LocalState>(disk_.get(), config_.data_dir);
  return {};
}

Status Node::LearnWhoWeAre(const std::stop_token& stop) {
  const auto uuid = local_->Uuid(environment_.random);
  if (!uuid) return uuid.error();
  uuid_ = *uuid;
  const auto epoch = local_->EpochSeen();
  if (!epoch) return epoch.error();
  state_.RaiseEpoch(*epoch);
  if (!cluster_.IsZero()) return {};
  auto cluster = local_->Cluster();
  if (cluster && cluster->IsZero()) {
    cluster = AskClusterId(config_.coordinator, v1::CredentialOf(environment_.cluster_secret), stop,
                           environment_.log);
    if (cluster) KDN_RETURN_IF_ERROR(local_->SetCluster(*cluster));
  }
  if (!cluster) return cluster.error();
  cluster_ = *cluster;
  return {};
}

Status Node::OpenShards() {
  if (domain_ == nullptr) {
    const transport::Options options{
        .kind = config_.transport,
        .connections_max = static_cast<std::uint32_t>(config_.connections_max),
        .insecure = config_.insecure,
        .congestion_control = config_.congestion_control,
        .connection_rate_max = config_.ConnectionBytesMax(),
        .shared_memory = config_.SharedMemoryOf(host_)};
    auto domain =
        transport::OpenDomain(options, environment_.clock, environment_.random, environment_.log);
    if (!domain) return domain.error();
    own_domain_ = *std::move(domain);
    domain_ = own_domain_.get();
  }
  const transport::Identity identity{.cluster = cluster_,
                                     .role = transport::PeerRole::kNode,
                                     .peer = uuid_,
                                     .host = host_,
                                     .scheme = environment_.cluster_secret.empty()
                                                   ? transport::HelloScheme::kNone
                                                   : transport::HelloScheme::kHmac,
                                     .secret = environment_.cluster_secret};
  for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(config_.shards); ++i) {
    shards_.push_back(std::make_unique<Shard>(ShardSetup{.shard = i,
                                                         .config = config_,
                                                         .disk = disk_.get(),
                                                         .domain = *domain_,
                                                         .authenticator = authenticator_,
                                                         .identity = identity,
                                                         .state = state_,
                                                         .epochs = *epochs_,
                                                         .outbox = outbox_,
                                                         .cluster_key = cluster_key_,
                                                         .clock = environment_.clock,
                                                         .log = environment_.log,
                                                         .registry = environment_.registry,
                                                         .metrics = metrics_,
                                                         .memory = memory_}));
    KDN_RETURN_IF_ERROR(shards_.back()->Open());
  }
  return {};
}

void Node::StartRegistrar() {
  registrar_ = std::make_unique<Registrar>(
      RegistrarSetup{.coordinator = config_.coordinator,
                     .uuid = uuid_,
                     .cluster = cluster_,
                     .host = host_,
                     .shard_endpoints = endpoints(),
                     .dram_bytes = static_cast<std::uint64_t>(config_.dram_mib) * limits::kMiB,
                     .disk_bytes = static_cast<std::uint64_t>(config_.disk_mib_max) * limits::kMiB,
                     .epochs = *epochs_,
                     .registration = {.credential = v1::CredentialOf(environment_.cluster_secret),
                                      .state = state_,
                                      .outbox = outbox_,
                                      .ask_shards =
                                          [this] {
                                            for (const auto& shard : shards_)
                                              shard->mailbox().Post(WantInventory{});
                                          },
                                      .clock = environment_.clock,
                                      .log = environment_.log}});
  load_reporter_ = std::make_unique<LoadReporter>(
      LoadReporterSetup{.coordinator = config_.coordinator,
                        .credential = v1::CredentialOf(environment_.cluster_secret),
                        .state = state_,
                        .registry = environment_.registry,
                        .clock = environment_.clock});
}

Node::~Node() {
  load_reporter_.reset();
  registrar_.reset();
  for (const auto& shard : shards_) shard->Stop();
  epochs_.reset();
  for (const auto& shard : shards_) {
    if (Status status = shard->Close(); !status.ok()) {
      environment_.log.Write(LogLevel::kError, "shard not closed cleanly",
                             {{"reason", status.ToString()}});
    }
  }
  shards_.clear();
  if (disk_ != nullptr) {
    if (Status status = disk_->Close(); !status.ok()) {
      environment_.log.Write(LogLevel::kError, "disk not closed cleanly",
                             {{"reason", status.ToString()}});
    }
  }
}

std::vector<std::string> Node::endpoints() const {
  std::vector<std::string> endpoints;
  for (const auto& shard : shards_) {
    endpoints.push_back(AdvertisedEndpoint(config_, shard->endpoint()));
  }
  return endpoints;
}

bool Node::ready() const {
  return registrar_ != nullptr && registrar_->joined() &&
         state_.InContact(environment_.clock.Now());
}

}  // namespace kdn::node
