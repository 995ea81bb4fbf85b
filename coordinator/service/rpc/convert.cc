#include "coordinator/service/rpc/convert.h"

#include "base/limits.h"

namespace kdn::coordinator::rpc {

std::vector<std::string> LevelNames(LevelSet levels) {
  std::vector<std::string> names;
  for (const LevelInfo& info : Levels()) {
    if (levels.Has(info.level)) names.emplace_back(info.name);
  }
  return names;
}

Result<LevelSet> LevelsOf(const google::protobuf::RepeatedPtrField<std::string>& names) {
  if (names.empty()) return kAllLevels;
  LevelSet levels;
  for (const std::string& name : names) {
    const Result<Level> level = FindLevel(name);
    if (!level) return Error(Code::kInvalidArgument, "no level is named '" + name + "'");
    levels.Add(*level);
  }
  return levels;
}

Result<std::vector<ChunkKey>> KeysOf(const google::protobuf::RepeatedPtrField<std::string>& keys) {
  if (keys.size() > static_cast<int>(limits::kChunksPerContextMax)) {
    return Error(Code::kInvalidArgument, "too many chunk keys");
  }
  std::vector<ChunkKey> parsed;
  parsed.reserve(static_cast<std::size_t>(keys.size()));
  for (const std::string& key : keys) {
    KDN_ASSIGN_OR_RETURN(const ChunkKey id, IdOf<ChunkKey>(key, "a chunk key"));
    parsed.push_back(id);
  }
  return parsed;
}

void FillNodeList(const wire::NodeMap& map, v1::NodeList& out) {
  out.set_version(map.version);
  for (const wire::NodeEndpoints& node : map.nodes) {
    v1::NodeInfo& info = *out.add_nodes();
    info.set_node_id(static_cast<std::uint32_t>(node.node));
    info.set_host_id(BytesOf(node.host));
    for (const std::string& shard : node.shards) info.add_shard_endpoints(shard);
  }
}

void FillContext(const Context& context, bool with_keys, v1::Context& out) {
  out.set_name(context.id.name);
  out.set_tenant_id(static_cast<std::uint64_t>(context.id.tenant));
  out.set_model_fingerprint(BytesOf(context.model));
  if (with_keys) {
    for (const ChunkKey& key : context.keys) out.add_chunk_keys(BytesOf(key));
  }
  out.set_token_count(context.token_count);
  const ContextPolicy& policy = context.policy;
  if (policy.level) out.set_level(std::string(LevelName(*policy.level)));
  out.set_pinned(policy.pinned);
  out.set_ttl_ms(policy.ttl_ms);
  out.set_priority(policy.priority);
  out.set_replicas(policy.replicas);
  out.set_revision(context.revision);
}

}  // namespace kdn::coordinator::rpc
