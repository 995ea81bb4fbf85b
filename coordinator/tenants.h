// Reads who may use a cluster from a TOML file:
//
//   [[tenant]]
//   name = "research"
//   id = 7                      # 1 to 2^63 - 1, never reused for another tenant
//   access_secret = "9f86d0..." # hexadecimal, at least 16 bytes; the tenant's clients have it too
//   allow_none = false          # true: may come without a proof over loopback
//   requests_per_second = 0     # at each daemon; 0: as its own configuration says
//   mib_per_second = 0          # the same, of reads and puts at each node
//
// Thread-safety: safe.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "coordinator/core/hard_state.h"

namespace kdn::coordinator {

// In order of ids. kInvalidArgument says file, line, key, value (never a secret's) and what was
// expected; kNotFound: there is no such file.
[[nodiscard]] Result<std::vector<Tenant>> ReadTenants(const std::string& path);

}  // namespace kdn::coordinator
