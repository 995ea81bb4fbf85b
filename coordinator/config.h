// What an operator sets about a coordinator: the [coordinator] section of its TOML file.
//
// Thread-safety: a value.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"
#include "base/request_lines.h"
#include "base/status.h"

namespace kdn::coordinator {

struct CoordinatorConfig {
  std::string data_dir = "/var/lib/kdn/coordinator";
  std::string listen = "127.0.0.1:7700";
  std::string grpc_listen = "127.0.0.1:7701";
  std::string status_listen = "127.0.0.1:0";
  std::string cluster_secret_file;
  std::string tenants_file;
  std::string cluster_id;
  bool insecure = false;

  std::int64_t replicas = 2;
  std::int64_t put_expiry_ms = 9000;
  std::int64_t dead_after_ms = 3000;
  std::int64_t forget_after_ms = 60000;
  std::int64_t ramp_ms = 60000;
  std::int64_t tenant_requests_max = 0;
  std::string placement = "rendezvous";
  std::string metastore = "rocksdb";

  std::string transport = "tcp";
  std::string log_level = "info";
  std::int64_t slow_request_ms = 1000;

  [[nodiscard]] RequestLines RequestLinesOf() const {
    return {std::chrono::milliseconds(slow_request_ms), log_level == "debug"};
  }
};

// Describes `config`, which outlives the table.
[[nodiscard]] ConfigTable TableOf(CoordinatorConfig& config);

// Where the metastore lies.
[[nodiscard]] std::string MetastoreFolder(const CoordinatorConfig& config);

// What one field alone cannot tell: endpoints that are none, plaintext off loopback without
// `insecure`, gRPC off loopback at all. kInvalidArgument with key, value and what was expected.
[[nodiscard]] Status ValidateConfig(const CoordinatorConfig& config);

}  // namespace kdn::coordinator
