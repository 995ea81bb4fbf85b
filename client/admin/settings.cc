#include "client/admin/settings.h"

#include <chrono>
#include <filesystem>

#include "base/secret_file.h"

namespace kdn::admin {

ConfigTable TableOf(Settings& settings) {
  ConfigTable table("admin");
  table.Text("grpc", &settings.grpc, "host:port of the coordinator's gRPC service");
  table.Text("coordinator", &settings.coordinator,
             "host:port of the coordinator's transport endpoint, for put and get");
  table.Text("cluster_secret_file", &settings.cluster_secret_file,
             "file with the secret that all daemons share, for all but put and get; empty: none");
  table.Integer("tenant_id", &settings.tenant_id, 1, INT64_MAX, "the tenant to act for");
  table.Text("access_secret_file", &settings.access_secret_file,
             "file with the tenant's access secret; empty: none, over loopback");
  table.Text("chunk_secret_file", &settings.chunk_secret_file,
             "file with the tenant's chunk secret, for put and get");
  table.Integer("timeout_ms", &settings.timeout_ms, 1, 3600000, "how long a call may take");
  return table;
}

Result<Settings> ReadSettings(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    return Error(Code::kNotFound, path +
                                      " does not exist. Start a cluster with "
                                      "`kdnctl cluster up`, or name its file with --config");
  }
  Settings settings;
  ConfigTable table = TableOf(settings);
  ConfigTable* const tables[] = {&table};
  if (Status status = ReadConfig(path, tables); !status.ok()) return std::unexpected(status);
  return settings;
}

Result<std::vector<std::byte>> ClusterSecretOf(const Settings& settings) {
  if (settings.cluster_secret_file.empty()) return std::vector<std::byte>();
  return ReadSecretFile(settings.cluster_secret_file);
}

Result<client::ClientOptions> ClientOptionsOf(const Settings& settings) {
  client::ClientOptions options;
  options.coordinator = settings.coordinator;
  options.tenant = TenantId{static_cast<std::uint64_t>(settings.tenant_id)};
  options.timeout = std::chrono::milliseconds(settings.timeout_ms);
  if (!settings.access_secret_file.empty()) {
    KDN_ASSIGN_OR_RETURN(options.access_secret, ReadSecretFile(settings.access_secret_file));
  }
  if (settings.chunk_secret_file.empty()) {
    return Error(Code::kFailedPrecondition,
                 "admin.chunk_secret_file is not set: chunk keys are "
                 "made from the tenant's chunk secret");
  }
  KDN_ASSIGN_OR_RETURN(std::vector<std::byte> secret, ReadSecretFile(settings.chunk_secret_file));
  options.chunk_secrets.push_back({SecretId{1}, std::move(secret)});
  return options;
}

}  // namespace kdn::admin
