#include "coordinator/service/rpc/contexts_service.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "coordinator/service/rpc/convert.h"

namespace kdn::coordinator::rpc {
namespace {

constexpr std::uint32_t kPageSizeDefault = 1000;
constexpr std::uint32_t kPageSizeMax = 10000;

Status SetField(const std::string& field, const v1::Context& from, ContextFields& out) {
  if (field == "keys") {
    out.keys = true;
    Result<std::vector<ChunkKey>> keys = KeysOf(from.chunk_keys());
    if (!keys) return keys.error();
    out.values.keys = std::move(*keys);
    out.values.token_count = from.token_count();
    if (from.model_fingerprint().empty()) return Status();
    const auto model = IdOf<ModelFingerprint>(from.model_fingerprint(), "model_fingerprint");
    if (!model) return model.error();
    out.values.model = *model;
    return Status();
  }
  ContextPolicy& policy = out.values.policy;
  if (field == "level") {
    out.level = true;
    if (from.level().empty()) return Status();
    const Result<Level> level = FindLevel(from.level());
    if (!level) return Status(Code::kInvalidArgument, "no level is named '" + from.level() + "'");
    policy.level = *level;
  } else if (field == "pinned") {
    out.pinned = true;
    policy.pinned = from.pinned();
  } else if (field == "ttl_ms") {
    out.ttl = true;
    policy.ttl_ms = from.ttl_ms();
  } else if (field == "priority") {
    out.priority = true;
    policy.priority = from.priority();
  } else if (field == "replicas") {
    if (from.replicas() > limits::kReplicasMax) {
      return Status(Code::kInvalidArgument, "there are at most 3 replicas");
    }
    out.replicas = true;
    policy.replicas = from.replicas();
  } else {
    return Status(Code::kInvalidArgument, "a context has no field '" + field + "' to set");
  }
  return Status();
}

// A page ends with the tenant and the name of its last context.
std::string TokenOf(const ContextName& id) {
  return std::to_string(static_cast<std::uint64_t>(id.tenant)) + ":" + id.name;
}

Result<ContextName> FromToken(const std::string& token, TenantId tenant) {
  if (token.empty()) return ContextName{tenant, ""};
  const std::size_t colon = token.find(':');
  const bool digits = colon != std::string::npos && colon > 0 && colon <= 19 &&
                      std::all_of(token.begin(), token.begin() + static_cast<std::ptrdiff_t>(colon),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return Error(Code::kInvalidArgument, "page_token is none that was handed out");
  return ContextName{static_cast<TenantId>(std::stoull(token.substr(0, colon))),
                     token.substr(colon + 1)};
}

}  // namespace

grpc::Status ContextsService::Get(grpc::ServerContext* call, const v1::GetContextRequest* request,
                                  v1::Context* response) {
  if (grpc::Status refused = callers_.Admit(*call); !refused.ok()) return refused;
  const ContextName id{static_cast<TenantId>(request->tenant_id()), request->name()};
  const Result<Context> context = loop_.Ask<Context>([id](Core& core) -> Result<Context> {
    const Context* found = core.contexts().Find(id);
    if (found == nullptr) return Error(Code::kNotFound, "no context named '" + id.name + "'");
    return *found;
  });
  if (!context) return ToGrpc(context.error());
  FillContext(*context, true, *response);
  return grpc::Status::OK;
}

grpc::Status ContextsService::List(grpc::ServerContext* call,
                                   const v1::ListContextsRequest* request,
                                   v1::ListContextsResponse* response) {
  if (grpc::Status refused = callers_.Admit(*call); !refused.ok()) return refused;
  const auto tenant = static_cast<TenantId>(request->tenant_id());
  const std::uint32_t wanted = request->page_size() == 0 ? kPageSizeDefault : request->page_size();
  const std::uint32_t count = std::min(wanted, kPageSizeMax);
  const Result<ContextName> after = FromToken(request->page_token(), tenant);
  if (!after) return ToGrpc(after.error());
  const std::string prefix = request->name_prefix();
  const auto page = loop_.Ask<v1::ListContextsResponse>(
      [tenant, prefix, after = *after, count](Core& core) -> Result<v1::ListContextsResponse> {
        v1::ListContextsResponse found;
        for (const Context* context : core.contexts().List(tenant, prefix, after, count)) {
          FillContext(*context, false, *found.add_contexts());
          found.add_chunk_counts(static_cast<std::uint32_t>(context->keys.size()));
          found.set_next_page_token(TokenOf(context->id));
        }
        if (found.contexts_size() < static_cast<int>(count)) found.clear_next_page_token();
        return found;
      });
  if (!page) return ToGrpc(page.error());
  *response = *page;
  return grpc::Status::OK;
}

Result<Context> ContextsService::Change(const ContextName& id, const ContextChange& change) {
  KDN_ASSIGN_OR_RETURN(
      CoreLoop::Decided decided,
      loop_.AskLater([id, change](Core& core, ReplyId reply, TimePoint, Actions& actions) {
        core.ChangeContext(id, change, reply, actions);
      }));
  return std::get<Context>(std::move(decided));
}

grpc::Status ContextsService::Set(grpc::ServerContext* call, const v1::SetContextRequest* request,
                                  v1::Context* response) {
  if (grpc::Status refused = callers_.Admit(*call); !refused.ok()) return refused;
  ContextFields fields;
  fields.revision_expected = request->revision_expected();
  for (const std::string& field : request->fields()) {
    if (Status status = SetField(field, request->context(), fields); !status.ok()) {
      return ToGrpc(status);
    }
  }
  const ContextName id{static_cast<TenantId>(request->context().tenant_id()),
                       request->context().name()};
  const Result<Context> context = Change(id, fields);
  if (!context) return ToGrpc(context.error());
  FillContext(*context, true, *response);
  return grpc::Status::OK;
}

grpc::Status ContextsService::Delete(grpc::ServerContext* call,
                                     const v1::DeleteContextRequest* request,
                                     v1::DeleteContextResponse*) {
  if (grpc::Status refused = callers_.Admit(*call); !refused.ok()) return refused;
  const ContextName id{static_cast<TenantId>(request->tenant_id()), request->name()};
  const Result<Context> context = Change(id, ContextRemoval{});
  return context ? grpc::Status::OK : ToGrpc(context.error());
}

}  // namespace kdn::coordinator::rpc
