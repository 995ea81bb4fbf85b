// Embedded mode: the client's API over storage in the same process, for an engine with no cluster.
// Link libkdn_embedded instead of libkdn.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kdn/client.h"

namespace kdn::client {

struct EmbeddedOptions {
  std::size_t dram_bytes = std::size_t{1} << 30;
  std::string disk_folder;  // empty: DRAM only
  std::uint64_t disk_bytes_max = 0;
  bool sync = true;
  // Of ClientOptions, what needs no network: tenant, chunk secrets, chunk_tokens, decode_threads,
  // staging_bytes, timeout, log.
  ClientOptions client;
};

// kFailedPrecondition if another process has the folder; kResourceExhausted if there is no memory.
[[nodiscard]] KDN_API Result<std::unique_ptr<Client>> OpenEmbedded(const EmbeddedOptions& options);

}  // namespace kdn::client
