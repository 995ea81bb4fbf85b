// What an operator sets about a node: the [node] section of its TOML file.
//
// Thread-safety: a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/request_lines.h"
#include "base/result.h"
#include "storage/object_store.h"
#include "transport/channel.h"

namespace kdn::node {

struct NodeConfig {
  std::string data_dir = "/var/lib/kdn/node";
  std::string listen = "127.0.0.1:0";
  std::string advertise_host;
  std::int64_t shards = 1;
  std::string coordinator = "127.0.0.1:7701";
  std::string status_listen = "127.0.0.1:0";
  std::string cluster_secret_file;
  bool insecure = false;

  std::int64_t dram_mib = 1024;
  std::string write_mode = "write_through";
  std::int64_t dirty_mib_max = 256;
  bool sync = true;
  std::int64_t disk_mib_max = 0;
  std::int64_t disk_threads = 2;
  std::int64_t disk_reclaim_ms = 10'000;
  std::int64_t disk_garbage_percent = 20;
  std::int64_t scrub_mib_per_second = 32;
  std::string policy = "leaf_lru";

  std::string transport = "tcp";
  std::string congestion_control;
  std::int64_t connection_mbit_max = 0;
  std::int64_t spin_us = 0;
  bool shared_memory = true;
  std::int64_t shared_memory_mib_max = 4096;
  std::int64_t shared_memory_client_mib_max = 1024;
  std::string shared_memory_users = "same";
  std::int64_t forward_timeout_ms = 1000;
  std::int64_t connections_max = 4096;
  std::int64_t requests_open_max = 4096;
  std::int64_t open_mib_max = 4096;
  std::int64_t tenant_requests_max = 0;
  std::int64_t tenant_mib_max = 0;
  std::int64_t shed_memory_percent = 60;
  std::string log_level = "info";
  std::int64_t slow_request_ms = 1000;

  // Of a node on `host`. Requires: a valid config.
  [[nodiscard]] transport::SharedMemoryOptions SharedMemoryOf(const HostId& host) const;
  [[nodiscard]] bool HasDisk() const { return write_mode != "dram_only"; }
  [[nodiscard]] storage::WriteMode WriteModeOf() const;
  [[nodiscard]] RequestLines RequestLinesOf() const {
    return {std::chrono::milliseconds(slow_request_ms), log_level == "debug"};
  }
  // connection_mbit_max in bytes a second.
  [[nodiscard]] std::uint64_t ConnectionBytesMax() const {
    return static_cast<std::uint64_t>(connection_mbit_max) * 125'000;
  }
};

// Describes `config`, which outlives the table.
[[nodiscard]] ConfigTable TableOf(NodeConfig& config);

// What one field alone cannot tell: endpoints that are none, plaintext off loopback without
// `insecure`. kInvalidArgument with key, value and what was expected.
[[nodiscard]] Status ValidateConfig(const NodeConfig& config);

// Where shard `shard` listens: the configured port plus the shard's number; port 0 stays 0.
// Requires: a valid config.
[[nodiscard]] std::string ShardEndpoint(const NodeConfig& config, std::uint32_t shard);

// `endpoint` with the host by which others reach this node.
[[nodiscard]] std::string AdvertisedEndpoint(const NodeConfig& config, const std::string& endpoint);

}  // namespace kdn::node
