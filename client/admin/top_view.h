// What `kdnctl top` shows: rates and latencies between two looks at a cluster, as text and as JSON.
//
// Thread-safety: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "kdn/v1/load.pb.h"

namespace kdn::admin {

// Rates are over the time between what was told in `before` and in `now`; a node that was started
// in between counts from its start. Nodes that have told nothing twice have no rates (null).
[[nodiscard]] nlohmann::json TopJson(const v1::OverviewResponse& before,
                                     const v1::OverviewResponse& now);

// One frame from that JSON: lines of at most `columns` characters, without control sequences.
[[nodiscard]] std::string TopText(const nlohmann::json& top, std::size_t columns);

// The duration in microseconds that a share (0 to 1) of the records lies below, interpolated within
// its bucket (load.proto). 0 without records.
[[nodiscard]] double QuantileUs(const v1::Durations& before, const v1::Durations& now,
                                double share);

}  // namespace kdn::admin
