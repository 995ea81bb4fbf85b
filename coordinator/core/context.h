// A named context as the coordinator keeps it: hard state.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "proto/object/levels.h"

namespace kdn::coordinator {

struct ContextName {
  TenantId tenant{};
  std::string name;  // 1 to limits::kContextNameBytesMax bytes, none of them a control character

  friend bool operator==(const ContextName&, const ContextName&) = default;
  friend auto operator<=>(const ContextName& a, const ContextName& b) {
    if (const auto order = a.tenant <=> b.tenant; order != 0) return order;
    return a.name <=> b.name;
  }
};

// What an operator may set on a context.
struct ContextPolicy {
  std::optional<Level> level;  // the finest level to keep; absent: as stored
  bool pinned = false;
  std::uint64_t ttl_ms = 0;    // 0: none
  std::int32_t priority = 0;   // higher is kept longer
  std::uint32_t replicas = 0;  // 0: the cluster's default

  friend bool operator==(const ContextPolicy&, const ContextPolicy&) = default;
};

struct Context {
  ContextName id;
  ModelFingerprint model;
  std::uint64_t token_count = 0;
  std::uint64_t revision = 0;  // grows with every change; 0: there is no such context
  ContextPolicy policy;
  std::vector<ChunkKey> keys;

  friend bool operator==(const Context&, const Context&) = default;
};

}  // namespace kdn::coordinator
