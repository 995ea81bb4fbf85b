#include "client/admin/coordinator_rpc.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "proto/kdn/v1/credential.h"

namespace kdn::admin {
namespace {

// A page of contexts or a context's locations may be long.
constexpr int kMessageBytesMax = 64 << 20;

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // The tool runs on the machine it asks: a proxy from the environment has no place in between.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

CoordinatorRpc::CoordinatorRpc(std::string endpoint, ConstBytes cluster_secret,
                               std::chrono::milliseconds timeout)
    : endpoint_(std::move(endpoint)),
      credential_(v1::CredentialOf(cluster_secret)),
      timeout_(timeout) {
  const auto channel = ChannelTo(endpoint_);
  admin_ = v1::Admin::NewStub(channel);
  contexts_ = v1::Contexts::NewStub(channel);
  directory_ = v1::Directory::NewStub(channel);
  load_ = v1::Load::NewStub(channel);
}

Status CoordinatorRpc::StatusOf(const grpc::Status& status) const {
  if (status.ok()) return {};
  const Code code = CodeFromNumber(static_cast<std::uint8_t>(status.error_code()));
  if (code == Code::kUnavailable || code == Code::kDeadlineExceeded) {
    return Status(code, "no coordinator answers at " + endpoint_ +
                            ". Is it running, and is [admin] grpc its gRPC endpoint?");
  }
  if (code == Code::kUnauthenticated) {
    return Status(code, "the coordinator at " + endpoint_ +
                            " asks for the cluster's secret. Is [admin] cluster_secret_file the "
                            "file that its daemons have?");
  }
  return Status(code, status.error_message());
}

void CoordinatorRpc::Bound(grpc::ClientContext& context) const {
  context.set_deadline(std::chrono::system_clock::now() + timeout_);
  ShowCredential(context);
}

void CoordinatorRpc::ShowCredential(grpc::ClientContext& context) const {
  if (!credential_.empty()) context.AddMetadata(v1::kCredentialKey, credential_);
}

Result<v1::StatusResponse> CoordinatorRpc::GetStatus() const {
  grpc::ClientContext context;
  Bound(context);
  v1::StatusResponse response;
  const Status status = StatusOf(admin_->Status(&context, v1::StatusRequest(), &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::OverviewResponse> CoordinatorRpc::Overview() const {
  grpc::ClientContext context;
  Bound(context);
  v1::OverviewResponse response;
  const Status status = StatusOf(load_->Overview(&context, v1::OverviewRequest(), &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::NodesResponse> CoordinatorRpc::Nodes() const {
  grpc::ClientContext context;
  Bound(context);
  v1::NodesResponse response;
  const Status status = StatusOf(admin_->Nodes(&context, v1::NodesRequest(), &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::ListContextsResponse> CoordinatorRpc::ListContexts(
    const v1::ListContextsRequest& request) const {
  grpc::ClientContext context;
  Bound(context);
  v1::ListContextsResponse response;
  const Status status = StatusOf(contexts_->List(&context, request, &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::Context> CoordinatorRpc::GetContext(std::uint64_t tenant_id,
                                               const std::string& name) const {
  grpc::ClientContext context;
  Bound(context);
  v1::GetContextRequest request;
  request.set_tenant_id(tenant_id);
  request.set_name(name);
  v1::Context response;
  const Status status = StatusOf(contexts_->Get(&context, request, &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::Context> CoordinatorRpc::SetContext(const v1::SetContextRequest& request) const {
  grpc::ClientContext context;
  Bound(context);
  v1::Context response;
  const Status status = StatusOf(contexts_->Set(&context, request, &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Status CoordinatorRpc::DeleteContext(std::uint64_t tenant_id, const std::string& name) const {
  grpc::ClientContext context;
  Bound(context);
  v1::DeleteContextRequest request;
  request.set_tenant_id(tenant_id);
  request.set_name(name);
  v1::DeleteContextResponse response;
  return StatusOf(contexts_->Delete(&context, request, &response));
}

Result<v1::DropResponse> CoordinatorRpc::Drop(const v1::DropRequest& request) const {
  grpc::ClientContext context;
  Bound(context);
  v1::DropResponse response;
  const Status status = StatusOf(admin_->Drop(&context, request, &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Result<v1::WhereResponse> CoordinatorRpc::Where(const v1::WhereRequest& request) const {
  grpc::ClientContext context;
  Bound(context);
  v1::WhereResponse response;
  const Status status = StatusOf(directory_->Where(&context, request, &response));
  if (!status.ok()) return std::unexpected(status);
  return response;
}

Status CoordinatorRpc::Verify(
    const v1::VerifyRequest& request,
    const std::function<void(const v1::VerifyProgress&)>& progress) const {
  grpc::ClientContext context;
  ShowCredential(context);
  const auto reader = admin_->Verify(&context, request);
  v1::VerifyProgress message;
  while (reader->Read(&message)) progress(message);
  return StatusOf(reader->Finish());
}

Status CoordinatorRpc::Backup(const std::function<Status(std::string_view)>& take) const {
  grpc::ClientContext context;
  ShowCredential(context);
  const auto reader = admin_->Backup(&context, {});
  v1::BackupBytes some;
  while (reader->Read(&some)) {
    if (Status status = take(some.bytes()); !status.ok()) {
      context.TryCancel();
      (void)reader->Finish();
      return status;
    }
  }
  return StatusOf(reader->Finish());
}

}  // namespace kdn::admin
