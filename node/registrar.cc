#include "node/registrar.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace kdn::node {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout{1000};
constexpr milliseconds kBackoffMin{50};
constexpr milliseconds kBackoffMax{1000};

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& coordinator) {
  grpc::ChannelArguments arguments;
  // gRPC's own backoff grows to two minutes; a restarted coordinator is to be found within one.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A new channel is a new connection, not one that another channel of this process has.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(coordinator, grpc::InsecureChannelCredentials(), arguments);
}

// A call that waits for the connection. One that fails at once while there is none would leave
// nobody to drive the next attempt: gRPC connects only while some thread is in a call, so a
// coordinator that is back would be found after seconds of dead attempts.
void BoundCall(const std::string& credential, grpc::ClientContext& context) {
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  ShowCredential(credential, context);
}

// gRPC says of a connection that never came about only that the time is over.
std::string ReasonOf(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) return status.error_message();
  return "no answer within " + std::to_string(kCallTimeout.count()) + " ms";
}

template <class Id>
std::string TextOf(const Id& id) {
  return std::string(AsText(id.bytes));
}

}  // namespace

Registrar::Registrar(const RegistrarSetup& setup) : setup_(setup), thread_([this] { Run(); }) {}

Registrar::~Registrar() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (registration_ != nullptr) registration_->Cancel();
    if (asking_ != nullptr) asking_->TryCancel();
  }
  changed_.notify_all();
  thread_.join();
}

bool Registrar::Pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [this] { return stopping_; });
  return !stopping_;
}

void Registrar::Run() {
  auto stub = v1::Membership::NewStub(ChannelTo(setup_.coordinator));
  milliseconds backoff = kBackoffMin;
  std::uint32_t registrations = 0;
  while (Pause(milliseconds(0))) {
    Result<v1::RegisterResponse> response = Register(*stub);
    Status status = response ? Join(*response) : response.error();
    if (!status.ok()) {
      setup_.registration.log.Write(
          LogLevel::kWarning, "not registered",
          {{"coordinator", setup_.coordinator}, {"reason", status.ToString()}});
      // A call that met nobody has waited already. A connection on which nothing came may be a dead
      // one: TCP tries it ever more rarely, and would find a network that is whole again long after
      // a new one does.
      if (status.code() == Code::kDeadlineExceeded) {
        stub = v1::Membership::NewStub(ChannelTo(setup_.coordinator));
        continue;
      }
      if (!Pause(backoff)) return;
      backoff = std::min(2 * backoff, kBackoffMax);
      continue;
    }
    backoff = kBackoffMin;
    Registration registration(setup_.registration, *stub, *response, registrations++);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      registration_ = &registration;
    }
    joined_.store(true);
    const std::string why = registration.Run();
    joined_.store(false);
    {
      const std::lock_guard lock(mutex_);
      registration_ = nullptr;
    }
    if (!Pause(milliseconds(0))) return;  // It ended because we stop.
    setup_.registration.log.Write(LogLevel::kWarning, "registration with the coordinator ended",
                                  {{"reason", why}});
    stub = v1::Membership::NewStub(ChannelTo(setup_.coordinator));
    if (!Pause(backoff)) return;
  }
}

Result<v1::RegisterResponse> Registrar::Register(v1::Membership::Stub& stub) {
  v1::RegisterRequest request;
  request.set_node_uuid(TextOf(setup_.uuid));
  request.set_cluster_id(TextOf(setup_.cluster));
  request.set_host_id(TextOf(setup_.host));
  for (const std::string& endpoint : setup_.shard_endpoints) {
    request.add_shard_endpoints(endpoint);
  }
  request.set_dram_bytes(setup_.dram_bytes);
  request.set_disk_bytes(setup_.disk_bytes);
  request.set_epoch_seen(static_cast<std::uint32_t>(setup_.registration.state.epoch()));
  request.set_version(KDN_VERSION);

  grpc::ClientContext* context = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return Error(Code::kCancelled);
    asking_ = std::make_unique<grpc::ClientContext>();
    BoundCall(setup_.registration.credential, *asking_);
    context = asking_.get();
  }
  v1::RegisterResponse response;
  const grpc::Status status = stub.Register(context, request, &response);
  {
    const std::lock_guard lock(mutex_);
    asking_.reset();
  }
  if (!status.ok()) {
    return Error(CodeFromNumber(static_cast<std::uint8_t>(status.error_code())), ReasonOf(status));
  }
  return response;
}

Status Registrar::Join(const v1::RegisterResponse& response) {
  const auto epoch = static_cast<Epoch>(response.epoch());
  ClusterState& state = setup_.registration.state;
  if (epoch < state.epoch()) {
    return Status(Code::kFailedPrecondition, "the coordinator is of an old epoch");
  }
  if (response.cluster_id() != TextOf(setup_.cluster)) {
    return Status(Code::kFailedPrecondition, "the coordinator serves another cluster");
  }
  KDN_RETURN_IF_ERROR(setup_.epochs.Raise(epoch));
  state.SetView({.self = static_cast<NodeId>(response.node_id()),
                 .map = NodeMapOf(response.nodes()),
                 .tenants = TenantsOf(response.tenants()),
                 .tenants_version = 0});  // the first beat tells it
  state.NoteContact(setup_.registration.clock.Now(), response.coordinator_now_ms());
  setup_.registration.log.Write(
      LogLevel::kInfo, "registered",
      {{"node", std::to_string(response.node_id())}, {"epoch", std::to_string(response.epoch())}});
  return {};
}

Result<ClusterId> AskClusterId(const std::string& coordinator, const std::string& credential,
                               const std::stop_token& stop, Log& log) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  auto stub = v1::Admin::NewStub(ChannelTo(coordinator));
  bool told = false;
  while (!stop.stop_requested()) {
    grpc::ClientContext context;
    BoundCall(credential, context);
    v1::StatusResponse response;
    const grpc::Status status = stub->Status(&context, {}, &response);
    ByteReader in(AsBytes(response.cluster_id()));
    const auto cluster = in.OpaqueId<ClusterId>();
    if (status.ok() && in.AtEnd()) return cluster;
    if (!told) {
      log.Write(LogLevel::kWarning, "waiting for the coordinator",
                {{"coordinator", coordinator}, {"reason", ReasonOf(status)}});
    }
    told = true;
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      stub = v1::Admin::NewStub(ChannelTo(coordinator));  // as in Registrar::Run()
    }
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, kBackoffMax / 5, [] { return false; });
  }
  return Error(Code::kCancelled);
}

}  // namespace kdn::node
