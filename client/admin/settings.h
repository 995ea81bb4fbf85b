// How kdnctl and other tools reach a cluster: the [admin] section of a TOML file, which a local
// cluster writes as kdnctl.toml into its folder.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/result.h"
#include "kdn/client.h"

namespace kdn::admin {

struct Settings {
  std::string grpc = "127.0.0.1:7701";
  std::string coordinator = "127.0.0.1:7700";
  std::int64_t tenant_id = 1;
  std::string cluster_secret_file;
  std::string access_secret_file;
  std::string chunk_secret_file;
  std::int64_t timeout_ms = 10000;
};

[[nodiscard]] ConfigTable TableOf(Settings& settings);

// kNotFound if there is no such file; else as ReadConfig().
[[nodiscard]] Result<Settings> ReadSettings(const std::string& path);

// What the coordinator's gRPC services ask for; empty if no file is named.
[[nodiscard]] Result<std::vector<std::byte>> ClusterSecretOf(const Settings& settings);

// Options for a client of this tenant. Reads the secrets' files; their errors say which.
[[nodiscard]] Result<client::ClientOptions> ClientOptionsOf(const Settings& settings);

}  // namespace kdn::admin
