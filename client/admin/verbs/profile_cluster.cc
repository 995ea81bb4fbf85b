#include "client/admin/verbs/profile_cluster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "client/core/profile_names.h"

namespace kdn::admin {
namespace {

constexpr std::size_t kDigitsMin = 6;

bool IsPrefixOf(const std::string& text, const std::string& hex) {
  return text.size() >= kDigitsMin && hex.starts_with(text);
}

Status Ambiguous(const std::string& text) {
  return Status(Code::kInvalidArgument, "'" + text + "' stands for several: give more digits");
}

}  // namespace

Result<std::unique_ptr<ProfileCluster>> ProfileCluster::Open(const VerbContext& context,
                                                             std::uint32_t chunk_tokens) {
  KDN_ASSIGN_OR_RETURN(const Settings settings, context.ReadSettings());
  Result<client::ClientOptions> options = ClientOptionsOf(settings);
  if (!options) return Error(Code::kInvalidArgument, options.error().message());
  options->chunk_tokens = chunk_tokens;
  options->profile_learn_chunks = 0;
  KDN_ASSIGN_OR_RETURN(CoordinatorRpc rpc, context.Connect());
  KDN_ASSIGN_OR_RETURN(auto client, client::OpenClient(*options));
  KDN_ASSIGN_OR_RETURN(auto stored, client::StoredProfiles::Make(*client));
  return std::unique_ptr<ProfileCluster>(
      new ProfileCluster(std::move(rpc), std::move(client), std::move(stored),
                         static_cast<std::uint64_t>(settings.tenant_id)));
}

ProfileCluster::ProfileCluster(CoordinatorRpc rpc, std::unique_ptr<client::Client> client,
                               client::StoredProfiles stored, std::uint64_t tenant_id)
    : rpc_(std::move(rpc)),
      client_(std::move(client)),
      stored_(std::move(stored)),
      tenant_id_(tenant_id) {}

Result<std::vector<v1::Context>> ProfileCluster::Contexts(std::string_view prefix) const {
  std::vector<v1::Context> found;
  v1::ListContextsRequest request;
  request.set_tenant_id(tenant_id_);
  request.set_name_prefix(std::string(prefix));
  do {
    KDN_ASSIGN_OR_RETURN(const v1::ListContextsResponse page, rpc_.ListContexts(request));
    found.insert(found.end(), page.contexts().begin(), page.contexts().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return found;
}

Result<ModelFingerprint> ProfileCluster::FindModel(const std::string& text) {
  std::set<ModelFingerprint> found;
  for (const std::string_view prefix : {client::kModelContexts, client::kProfileContexts}) {
    KDN_ASSIGN_OR_RETURN(const auto contexts, Contexts(prefix));
    for (const v1::Context& context : contexts) {
      ModelFingerprint model;
      const std::string hex = context.name().substr(prefix.size(), 2 * ModelFingerprint::kSize);
      if (!FromHex(hex, model)) continue;
      bool named = IsPrefixOf(text, hex);
      if (!named && prefix == client::kModelContexts) {
        const auto spec = stored_.FetchSpec(model, interrupt_);
        named = spec && spec->name == text;
      }
      if (named) found.insert(model);
    }
  }
  if (found.size() > 1) return std::unexpected(Ambiguous(text));
  if (found.empty()) {
    return Error(Code::kNotFound, "no model is known by '" + text +
                                      "'. `kdnctl profile list` shows those that are; a model "
                                      "becomes known when it is stored at a lossy level");
  }
  return *found.begin();
}

Result<std::vector<ProfileVersion>> ProfileCluster::Versions(const ModelFingerprint& model) const {
  const std::string prefix =
      model.IsZero() ? std::string(client::kProfileContexts) : client::ProfileContext(model) + "/";
  KDN_ASSIGN_OR_RETURN(const auto contexts, Contexts(prefix));
  std::vector<ProfileVersion> versions;
  for (const v1::Context& context : contexts) {
    const std::string_view ids =
        std::string_view(context.name()).substr(client::kProfileContexts.size());
    const std::size_t slash = ids.find('/');
    ProfileVersion version;
    version.context = context;
    if (slash == std::string_view::npos || !FromHex(ids.substr(0, slash), version.model) ||
        !FromHex(ids.substr(slash + 1), version.id)) {
      continue;
    }
    versions.push_back(std::move(version));
  }
  return versions;
}

Result<ProfileVersion> ProfileCluster::FindVersion(const ModelFingerprint& model,
                                                   const std::string& text) const {
  KDN_ASSIGN_OR_RETURN(std::vector<ProfileVersion> versions, Versions(model));
  std::erase_if(versions, [&](const ProfileVersion& version) {
    return !IsPrefixOf(text, ToHex(version.id));
  });
  if (versions.size() > 1) return std::unexpected(Ambiguous(text));
  if (versions.empty()) {
    return Error(Code::kNotFound, "the model has no profile '" + text +
                                      "'. `kdnctl profile list` shows those that there are");
  }
  return std::move(versions.front());
}

Result<ProfileVersion> ProfileCluster::CurrentOf(const ModelFingerprint& model) const {
  KDN_ASSIGN_OR_RETURN(const v1::Context current,
                       rpc_.GetContext(tenant_id_, client::ProfileContext(model)));
  KDN_ASSIGN_OR_RETURN(std::vector<ProfileVersion> versions, Versions(model));
  for (ProfileVersion& version : versions) {
    KDN_ASSIGN_OR_RETURN(const v1::Context context,
                         rpc_.GetContext(tenant_id_, version.context.name()));
    const bool same = std::equal(context.chunk_keys().begin(), context.chunk_keys().end(),
                                 current.chunk_keys().begin(), current.chunk_keys().end());
    if (same) return std::move(version);
  }
  return Error(Code::kNotFound, "the model's current profile has been forgotten");
}

Status ProfileCluster::Use(const ModelFingerprint& model, const ProfileId& id) const {
  auto context = rpc_.GetContext(tenant_id_, client::ProfileContext(model, id));
  if (!context) return context.error();
  v1::SetContextRequest request;
  *request.mutable_context() = *std::move(context);
  request.mutable_context()->set_name(client::ProfileContext(model));
  request.mutable_context()->set_pinned(true);
  request.add_fields("keys");
  request.add_fields("pinned");
  const auto set = rpc_.SetContext(request);
  return set ? Status() : set.error();
}

Result<const client::Model*> ProfileCluster::ModelOf(const ModelFingerprint& model) {
  const auto spec = stored_.FetchSpec(model, interrupt_);
  if (!spec) {
    return Error(spec.error().code(),
                 "the model's spec cannot be had from the cluster: a client stores it with the "
                 "first chunks of a lossy level; else name a file with --spec");
  }
  return client_->UseModel(*spec, {});
}

}  // namespace kdn::admin
