// What a running node says of itself: its metrics, over HTTP.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "tests/fault/rig.h"

namespace kdn::fault {

// With this setting a node of a rig can be asked.
inline constexpr const char* kWithStatus = "node.status_listen=127.0.0.1:0";

// All metrics of node `node` (1, 2, ...) as text; empty if it does not answer.
[[nodiscard]] std::string MetricsOf(Rig& rig, std::size_t node);

// The sum of all lines that begin with `prefix`, a metric's name with or without labels.
[[nodiscard]] double SumOf(const std::string& metrics, const std::string& prefix);

}  // namespace kdn::fault
