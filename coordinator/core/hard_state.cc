#include "coordinator/core/hard_state.h"

#include <algorithm>
#include <limits>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/secret_file.h"

namespace kdn::coordinator {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kNoLevel = 0xFF;
constexpr std::string_view kEpochKey = "epoch";
constexpr std::string_view kClusterKey = "cluster";
constexpr std::string_view kNodePrefix = "node/";
constexpr std::string_view kTenantPrefix = "tenant/";
constexpr std::string_view kContextPrefix = "context/";
constexpr std::string_view kChunksPrefix = "chunks/";

template <class Integer>
std::string BigEndian(Integer value) {
  const auto number = static_cast<std::uint64_t>(value);
  std::string text;
  for (std::size_t i = sizeof(Integer); i > 0; --i) {
    text.push_back(static_cast<char>((number >> (8 * (i - 1))) & 0xFFU));
  }
  return text;
}

std::uint64_t FromBigEndian(std::string_view text) {
  std::uint64_t value = 0;
  for (const char c : text) value = (value << 8) | static_cast<unsigned char>(c);
  return value;
}

std::string TextOf(const std::vector<std::byte>& bytes) {
  return std::string(AsText(bytes));
}

std::string ContextKey(const ContextName& id) {
  return std::string(kContextPrefix) + BigEndian(id.tenant) + id.name;
}

std::string PageKey(const ContextName& id, std::size_t page) {
  return std::string(kChunksPrefix) + BigEndian(id.tenant) + id.name + '\0' +
         BigEndian(static_cast<std::uint32_t>(page));
}

std::size_t PageCount(std::size_t chunk_count) {
  return (chunk_count + kChunksPerPage - 1) / kChunksPerPage;
}

Status Damaged(std::string_view key) {
  return Status(Code::kDataLoss, "metastore: the record '" + std::string(key) + "' cannot be read");
}

Status ReadNode(std::string_view key, std::string_view value, HardState& state) {
  KnownNode node;
  ByteReader name(AsBytes(key.substr(kNodePrefix.size())));
  node.uuid = name.OpaqueId<PeerId>();
  ByteReader in(AsBytes(value));
  if (in.Integer<std::uint8_t>() != kVersion) return Damaged(key);
  node.id = in.Integer<NodeId>();
  node.registered = in.Integer<Epoch>();
  if (!name.AtEnd() || !in.AtEnd()) return Damaged(key);
  state.nodes.push_back(node);
  return Status();
}

Status ReadTenant(std::string_view key, std::string_view value, HardState& state) {
  Tenant tenant;
  tenant.id = static_cast<TenantId>(FromBigEndian(key.substr(kTenantPrefix.size())));
  ByteReader in(AsBytes(value));
  if (in.Integer<std::uint8_t>() != kVersion) return Damaged(key);
  tenant.name = AsText(in.Sized(limits::kContextNameBytesMax));
  const ConstBytes secret = in.Sized(kSecretBytesMax);
  tenant.access_secret.assign(secret.begin(), secret.end());
  tenant.allow_none = in.Integer<std::uint8_t>() != 0;
  if (!in.rest().empty()) {  // not written where there is none, nor by versions before
    tenant.rate.requests_per_second = in.Integer<std::uint32_t>();
    tenant.rate.bytes_per_second = in.Integer<std::uint64_t>();
  }
  if (!in.AtEnd()) return Damaged(key);
  state.tenants.push_back(std::move(tenant));
  return Status();
}

// version ‖ revision ‖ model ‖ token count ‖ chunk count ‖ level ‖ pinned ‖ ttl ‖ priority ‖
// replicas
std::string ContextValue(const Context& context) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Integer(kVersion);
  out.Integer(context.revision);
  out.Id(context.model);
  out.Integer(context.token_count);
  out.Integer(static_cast<std::uint32_t>(context.keys.size()));
  const ContextPolicy& policy = context.policy;
  out.Integer(policy.level ? static_cast<std::uint8_t>(*policy.level) : kNoLevel);
  out.Integer(static_cast<std::uint8_t>(policy.pinned));
  out.Integer(policy.ttl_ms);
  out.Integer(static_cast<std::uint32_t>(policy.priority));
  out.Integer(policy.replicas);
  return TextOf(bytes);
}

Status ReadContext(Metastore& metastore, std::string_view key, std::string_view value,
                   HardState& state) {
  if (key.size() < kContextPrefix.size() + sizeof(TenantId)) return Damaged(key);
  Context context;
  const std::string_view id = key.substr(kContextPrefix.size());
  context.id.tenant = static_cast<TenantId>(FromBigEndian(id.substr(0, sizeof(TenantId))));
  context.id.name = id.substr(sizeof(TenantId));
  ByteReader in(AsBytes(value));
  if (in.Integer<std::uint8_t>() != kVersion) return Damaged(key);
  context.revision = in.Integer<std::uint64_t>();
  context.model = in.OpaqueId<ModelFingerprint>();
  context.token_count = in.Integer<std::uint64_t>();
  const auto chunk_count = in.Integer<std::uint32_t>();
  const auto level = in.Integer<std::uint8_t>();
  context.policy.pinned = in.Integer<std::uint8_t>() != 0;
  context.policy.ttl_ms = in.Integer<std::uint64_t>();
  context.policy.priority = static_cast<std::int32_t>(in.Integer<std::uint32_t>());
  context.policy.replicas = in.Integer<std::uint32_t>();
  if (!in.AtEnd() || chunk_count > limits::kChunksPerContextMax) return Damaged(key);
  if (level != kNoLevel && level >= kLevelCount) return Damaged(key);
  if (level != kNoLevel) context.policy.level = static_cast<Level>(level);
  for (std::size_t page = 0; page < PageCount(chunk_count); ++page) {
    const std::string page_key = PageKey(context.id, page);
    const Result<std::string> keys = metastore.Get(page_key);
    if (!keys || keys->size() % ChunkKey::kSize != 0) return Damaged(page_key);
    ByteReader keys_in(AsBytes(*keys));
    while (!keys_in.AtEnd()) context.keys.push_back(keys_in.OpaqueId<ChunkKey>());
  }
  if (context.keys.size() != chunk_count) return Damaged(key);
  state.contexts.push_back(std::move(context));
  return Status();
}

Status ReadAll(Metastore& metastore, HardState& state) {
  KDN_RETURN_IF_ERROR(metastore.Scan(
      kNodePrefix,
      [&](std::string_view key, std::string_view value) { return ReadNode(key, value, state); }));
  KDN_RETURN_IF_ERROR(metastore.Scan(
      kTenantPrefix,
      [&](std::string_view key, std::string_view value) { return ReadTenant(key, value, state); }));
  return metastore.Scan(kContextPrefix, [&](std::string_view key, std::string_view value) {
    return ReadContext(metastore, key, value, state);
  });
}

// The epoch and the cluster id as they were; zero if there were none.
Status ReadReign(Metastore& metastore, HardState& state) {
  const Result<std::string> epoch = metastore.Get(kEpochKey);
  const Result<std::string> cluster = metastore.Get(kClusterKey);
  for (const Result<std::string>* record : {&epoch, &cluster}) {
    if (!*record && record->error().code() != Code::kNotFound) return record->error();
  }
  if (epoch.has_value() != cluster.has_value()) return Damaged(epoch ? kClusterKey : kEpochKey);
  if (!epoch) return Status();
  ByteReader epoch_in(AsBytes(*epoch));
  ByteReader cluster_in(AsBytes(*cluster));
  state.epoch = epoch_in.Integer<Epoch>();
  state.cluster = cluster_in.OpaqueId<ClusterId>();
  if (!epoch_in.AtEnd()) return Damaged(kEpochKey);
  if (!cluster_in.AtEnd()) return Damaged(kClusterKey);
  return Status();
}

}  // namespace

Result<HardState> BeginReign(Metastore& metastore, const ClusterId& wanted, Random& random) {
  HardState state;
  if (Status status = ReadReign(metastore, state); !status.ok()) return std::unexpected(status);
  if (state.cluster.IsZero()) {
    state.cluster = wanted.IsZero() ? RandomId<ClusterId>(random) : wanted;
  } else if (!wanted.IsZero() && wanted != state.cluster) {
    return Error(Code::kFailedPrecondition, "metastore: it belongs to cluster " +
                                                ToHex(state.cluster) + ", not " + ToHex(wanted));
  }
  if (static_cast<std::uint32_t>(state.epoch) == std::numeric_limits<std::uint32_t>::max()) {
    return Error(Code::kFailedPrecondition, "metastore: all epochs are used up");
  }
  state.epoch = static_cast<Epoch>(static_cast<std::uint32_t>(state.epoch) + 1);
  MetaBatch batch;
  SetEpoch(state.epoch, batch);
  batch.Put(std::string(kClusterKey), std::string(AsText(state.cluster.bytes)));
  if (Status status = metastore.Write(batch); !status.ok()) return std::unexpected(status);
  if (Status status = ReadAll(metastore, state); !status.ok()) return std::unexpected(status);
  return state;
}

Result<Epoch> StoredEpoch(Metastore& metastore) {
  HardState state;
  if (Status status = ReadReign(metastore, state); !status.ok()) return std::unexpected(status);
  return state.epoch;
}

void SetEpoch(Epoch last, MetaBatch& batch) {
  std::vector<std::byte> epoch;
  ByteWriter(epoch).Integer(last);
  batch.Put(std::string(kEpochKey), TextOf(epoch));
}

void PutNode(const KnownNode& node, MetaBatch& batch) {
  std::vector<std::byte> value;
  ByteWriter out(value);
  out.Integer(kVersion);
  out.Integer(node.id);
  out.Integer(node.registered);
  batch.Put(std::string(kNodePrefix) + std::string(AsText(node.uuid.bytes)), TextOf(value));
}

void PutContext(const Context& context, std::size_t first_changed, std::size_t chunks_before,
                MetaBatch& batch) {
  const std::size_t page_count = PageCount(context.keys.size());
  for (std::size_t page = first_changed / kChunksPerPage; page < page_count; ++page) {
    std::vector<std::byte> keys;
    ByteWriter out(keys);
    const std::size_t end = std::min(context.keys.size(), (page + 1) * kChunksPerPage);
    for (std::size_t i = page * kChunksPerPage; i < end; ++i) out.Id(context.keys[i]);
    batch.Put(PageKey(context.id, page), TextOf(keys));
  }
  for (std::size_t page = page_count; page < PageCount(chunks_before); ++page) {
    batch.Delete(PageKey(context.id, page));
  }
  batch.Put(ContextKey(context.id), ContextValue(context));
}

void DeleteContext(const Context& context, MetaBatch& batch) {
  batch.Delete(ContextKey(context.id));
  for (std::size_t page = 0; page < PageCount(context.keys.size()); ++page) {
    batch.Delete(PageKey(context.id, page));
  }
}

void PutTenants(const std::vector<Tenant>& stored, const std::vector<Tenant>& tenants,
                MetaBatch& batch) {
  for (const Tenant& tenant : stored) {
    if (std::ranges::find(tenants, tenant.id, &Tenant::id) == tenants.end()) {
      batch.Delete(std::string(kTenantPrefix) + BigEndian(tenant.id));
    }
  }
  for (const Tenant& tenant : tenants) {
    if (std::ranges::find(stored, tenant) != stored.end()) continue;
    std::vector<std::byte> value;
    ByteWriter out(value);
    out.Integer(kVersion);
    out.Sized(AsBytes(tenant.name));
    out.Sized(tenant.access_secret);
    out.Integer(static_cast<std::uint8_t>(tenant.allow_none));
    if (tenant.rate != TenantRate{}) {
      out.Integer(tenant.rate.requests_per_second);
      out.Integer(tenant.rate.bytes_per_second);
    }
    batch.Put(std::string(kTenantPrefix) + BigEndian(tenant.id), TextOf(value));
  }
}

}  // namespace kdn::coordinator
