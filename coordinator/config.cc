#include "coordinator/config.h"

#include "base/endpoint.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/result.h"
#include "coordinator/metastore/metastore.h"
#include "coordinator/placement/placement.h"
#include "transport/channel.h"

namespace kdn::coordinator {

ConfigTable TableOf(CoordinatorConfig& config) {
  ConfigTable table("coordinator");
  table.Text("data_dir", &config.data_dir, "folder of the metastore");
  table.Text("listen", &config.listen, "host:port for clients; port 0: the system chooses");
  table.Text("grpc_listen", &config.grpc_listen,
             "host:port for nodes and tools, on loopback until there is TLS");
  table.Text("status_listen", &config.status_listen,
             "host:port of /metrics, /healthz and /readyz; empty: none");
  table.Text("cluster_secret_file", &config.cluster_secret_file,
             "file with the secret that all daemons share; empty: none, for loopback only");
  table.Text("tenants_file", &config.tenants_file,
             "file with [[tenant]] tables, read at start; empty: the tenants of the last start");
  table.Text("cluster_id", &config.cluster_id,
             "32 hexadecimal digits; empty: drawn at the first start and kept");
  table.Boolean("insecure", &config.insecure, "allows plaintext off loopback");
  table.Integer("replicas", &config.replicas, 1, limits::kReplicasMax,
                "nodes that a chunk is stored on, unless its writer says otherwise");
  table.Integer("put_expiry_ms", &config.put_expiry_ms, 100, 600000,
                "after which a put that was not committed is taken back");
  table.Integer("dead_after_ms", &config.dead_after_ms, 100, 600000,
                "silence after which a node counts as dead; it beats every 500 ms");
  table.Integer("forget_after_ms", &config.forget_after_ms, 100, 86400000,
                "silence after which what a dead node held is forgotten");
  table.Integer("ramp_ms", &config.ramp_ms, 0, 3600000,
                "over which a new node comes to its full share of new chunks");
  table.Integer("tenant_requests_max", &config.tenant_requests_max, 0, 1'000'000'000,
                "calls a second of each tenant whose entry says nothing; 0: any");
  table.Choice("placement", &config.placement, PlacementPolicies(),
               "how nodes are chosen for chunks");
  table.Choice("metastore", &config.metastore, MetastoreKinds(), "where decisions are kept");
  table.Choice("transport", &config.transport, transport::DomainKinds(), "how clients' calls come");
  table.Choice("log_level", &config.log_level, {"debug", "info", "warning", "error"},
               "lines below it are dropped");
  table.Integer("slow_request_ms", &config.slow_request_ms, 1, 3600000,
                "requests that take so long get a line at info level; at debug level all do");
  return table;
}

std::string MetastoreFolder(const CoordinatorConfig& config) {
  return config.data_dir + "/metastore";
}

Status ValidateConfig(const CoordinatorConfig& config) {
  if (config.data_dir.empty()) {
    return RefuseSetting("coordinator.data_dir", config.data_dir, "a folder");
  }
  if (config.transport == "tcp") {
    KDN_RETURN_IF_ERROR(CheckEndpointSetting("coordinator.listen", config.listen, config.insecure));
  }
  const auto grpc = SplitEndpoint(config.grpc_listen);
  if (!grpc || !IsLoopback(grpc->host)) {
    return RefuseSetting("coordinator.grpc_listen", config.grpc_listen, "host:port on loopback");
  }
  if (!config.status_listen.empty()) {
    KDN_RETURN_IF_ERROR(
        CheckEndpointSetting("coordinator.status_listen", config.status_listen, config.insecure));
  }
  if (ClusterId id; !config.cluster_id.empty() && !FromHex(config.cluster_id, id)) {
    return RefuseSetting("coordinator.cluster_id", config.cluster_id,
                         "32 hexadecimal digits in lower case");
  }
  const auto listen = SplitEndpoint(config.listen);
  if (config.cluster_secret_file.empty() && config.transport == "tcp" &&
      !IsLoopback(listen->host)) {
    return RefuseSetting("coordinator.cluster_secret_file", "",
                         "a file, since listen is not on loopback");
  }
  if (config.forget_after_ms < config.dead_after_ms) {
    return RefuseSetting("coordinator.forget_after_ms", std::to_string(config.forget_after_ms),
                         "at least dead_after_ms");
  }
  return {};
}

}  // namespace kdn::coordinator
