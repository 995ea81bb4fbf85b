#include "node/config.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "base/endpoint.h"
#include "base/limits.h"
#include "storage/policy/eviction_policy.h"
#include "transport/channel.h"

namespace kdn::node {

storage::WriteMode NodeConfig::WriteModeOf() const {
  if (write_mode == "write_back") return storage::WriteMode::kWriteBack;
  if (write_mode == "dram_only") return storage::WriteMode::kDramOnly;
  return storage::WriteMode::kWriteThrough;
}

namespace {

constexpr std::size_t kUsersMax = 64;

// The user ids in "0,1000", or nothing if it is no such list.
std::optional<std::vector<std::uint32_t>> UsersIn(std::string_view text) {
  std::vector<std::uint32_t> users;
  while (users.size() < kUsersMax) {
    std::uint32_t user = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), user);
    if (error != std::errc()) return std::nullopt;
    users.push_back(user);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return users;
    if (text.front() != ',') return std::nullopt;
    text.remove_prefix(1);
  }
  return std::nullopt;
}

std::vector<std::string> PolicyNames() {
  std::vector<std::string> names;
  for (const auto& policy : storage::EvictionPolicies()) names.emplace_back(policy.name);
  return names;
}

void AddSharedMemory(ConfigTable& table, NodeConfig& config) {
  table.Boolean("shared_memory", &config.shared_memory,
                "moves bulk of clients on this host through memory that they share, not sockets; "
                "never where connection_mbit_max bounds it");
  table.Integer("shared_memory_mib_max", &config.shared_memory_mib_max, 1, 16 << 20,
                "MiB of clients' memory that are mapped at most");
  table.Integer("shared_memory_client_mib_max", &config.shared_memory_client_mib_max, 1, 16 << 20,
                "the same of one client process; beyond, its bulk goes through sockets");
  table.Text("shared_memory_users", &config.shared_memory_users,
             "whose processes may share memory: same (the node's user, and root), any, or also "
             "these user ids, with commas between");
}

}  // namespace

transport::SharedMemoryOptions NodeConfig::SharedMemoryOf(const HostId& host) const {
  transport::SharedMemoryOptions options;
  options.enabled = shared_memory;
  options.host = host;
  options.bytes_max = static_cast<std::uint64_t>(shared_memory_mib_max) * limits::kMiB;
  options.process_bytes_max =
      static_cast<std::uint64_t>(shared_memory_client_mib_max) * limits::kMiB;
  options.any_user = shared_memory_users == "any";
  if (auto users = UsersIn(shared_memory_users)) options.users = *std::move(users);
  return options;
}

ConfigTable TableOf(NodeConfig& config) {
  ConfigTable table("node");
  table.Text("data_dir", &config.data_dir, "folder of the disk tier and the node's identity");
  table.Text("listen", &config.listen,
             "host:port of the first shard, the others follow; port 0: the system chooses");
  table.Text("advertise_host", &config.advertise_host,
             "host under which others reach this node; empty: that of listen");
  table.Integer("shards", &config.shards, 1, limits::kShardsPerNodeMax,
                "threads that serve, each with its own share of keys, memory and port");
  table.Text("coordinator", &config.coordinator, "host:port of the coordinator's gRPC service");
  table.Text("status_listen", &config.status_listen,
             "host:port of /metrics, /healthz and /readyz; empty: none");
  table.Text("cluster_secret_file", &config.cluster_secret_file,
             "file with the secret that all daemons share; empty: none, for loopback only");
  table.Boolean("insecure", &config.insecure, "allows plaintext off loopback");
  table.Integer("dram_mib", &config.dram_mib, 1, 16 << 20, "size of the DRAM tier in MiB");
  table.Choice("write_mode", &config.write_mode, {"write_through", "write_back", "dram_only"},
               "when a commit is acknowledged: once on disk, once in DRAM, or there is no disk");
  table.Integer("dirty_mib_max", &config.dirty_mib_max, 1, 16 << 20,
                "of write_back: MiB that may wait for the disk");
  table.Boolean("sync", &config.sync, "every write reaches the disk before it is acknowledged");
  table.Integer(
      "disk_mib_max", &config.disk_mib_max, 0, std::int64_t{1} << 40,
      "bound of the disk tier in MiB, 0: none; 5 % of its file system, 1 GiB at most, stay free");
  table.Integer("disk_threads", &config.disk_threads, 1, 64,
                "threads that read the disk, and as many that write it");
  table.Integer("disk_reclaim_ms", &config.disk_reclaim_ms, 10, 3'600'000,
                "how long deleted bytes may stay on the disk before their space is reclaimed");
  table.Integer("disk_garbage_percent", &config.disk_garbage_percent, 1, 100,
                "of a level's bytes in files: what may stay deleted, as less costs more rewriting");
  table.Integer("scrub_mib_per_second", &config.scrub_mib_per_second, 0, 1 << 20,
                "how fast what is stored is verified again in the background, 0: not at all");
  table.Choice("policy", &config.policy, PolicyNames(), "how objects are ranked for eviction");
  table.Choice("transport", &config.transport, transport::DomainKinds(), "how data moves");
  table.Text("congestion_control", &config.congestion_control,
             "of the TCP connections that it sends on; empty: the system's");
  table.Integer("connection_mbit_max", &config.connection_mbit_max, 0, 1'000'000,
                "Mbit/s that one TCP connection sends at most, paced evenly; 0: any");
  table.Integer("spin_us", &config.spin_us, 0, 1'000'000,
                "how long a shard looks for work before it sleeps; for machines with spare cores");
  AddSharedMemory(table, config);
  table.Integer("forward_timeout_ms", &config.forward_timeout_ms, 10, 60000,
                "how long the next replica may take for a piece");
  table.Integer("connections_max", &config.connections_max, 16, 1 << 20,
                "connections to one shard; each takes a descriptor and about 48 KiB");
  table.Integer("requests_open_max", &config.requests_open_max, 16, 1 << 20,
                "requests under way in one shard, of which 50 % may be background moves, 70 % with "
                "puts, 85 % with prefetching loads");
  table.Integer("open_mib_max", &config.open_mib_max, 16, 16 << 20,
                "MiB that requests under way move, together and in the same shares");
  table.Integer("tenant_requests_max", &config.tenant_requests_max, 0, 1'000'000'000,
                "requests a second of each tenant whose entry says nothing; 0: any");
  table.Integer("tenant_mib_max", &config.tenant_mib_max, 0, 1'000'000'000,
                "MiB a second of each tenant whose entry says nothing; 0: any");
  table.Integer("shed_memory_percent", &config.shed_memory_percent, 10, 90,
                "of what the control group's memory limit leaves beyond the start, the share in "
                "use from which puts are refused");
  table.Choice("log_level", &config.log_level, {"debug", "info", "warning", "error"},
               "lines below it are dropped");
  table.Integer("slow_request_ms", &config.slow_request_ms, 1, 3600000,
                "requests that take so long get a line at info level; at debug level all do");
  return table;
}

Status ValidateConfig(const NodeConfig& config) {
  if (config.data_dir.empty()) return RefuseSetting("node.data_dir", config.data_dir, "a folder");
  KDN_RETURN_IF_ERROR(CheckEndpointSetting("node.listen", config.listen, config.insecure));
  KDN_RETURN_IF_ERROR(
      CheckEndpointSetting("node.coordinator", config.coordinator, config.insecure));
  if (!config.status_listen.empty()) {
    KDN_RETURN_IF_ERROR(
        CheckEndpointSetting("node.status_listen", config.status_listen, config.insecure));
  }
  if (const std::string& users = config.shared_memory_users;
      users != "same" && users != "any" && !UsersIn(users)) {
    return RefuseSetting("node.shared_memory_users", users, "same, any or user ids");
  }
  const HostPort listen = *SplitEndpoint(config.listen);
  if (listen.port != 0 && listen.port + config.shards - 1 > 65535) {
    return RefuseSetting("node.listen", config.listen, "room for one port per shard");
  }
  if (config.dram_mib < config.shards) {
    return RefuseSetting("node.dram_mib", std::to_string(config.dram_mib), "at least 1 per shard");
  }
  return {};
}

std::string ShardEndpoint(const NodeConfig& config, std::uint32_t shard) {
  const HostPort listen = *SplitEndpoint(config.listen);
  const std::uint32_t port = listen.port == 0 ? 0 : listen.port + shard;
  return listen.host + ":" + std::to_string(port);
}

std::string AdvertisedEndpoint(const NodeConfig& config, const std::string& endpoint) {
  if (config.advertise_host.empty()) return endpoint;
  return config.advertise_host + endpoint.substr(endpoint.rfind(':'));
}

}  // namespace kdn::node
