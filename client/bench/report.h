// What a run came to, as a table for people and as JSON for programs; and several runs' JSON as
// one, where a cluster was loaded from several machines at a time.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/bench/loop.h"
#include "client/bench/options.h"

namespace kdn::bench {

struct RunTotals {
  double seconds = 0.0;  // that were counted
  double load_seconds = 0.0;
  std::uint64_t bytes_verified = 0;
  std::uint64_t under_replicated = 0;
};

// {parameters, seconds, operations: {KIND: {...}}}; each operation with its outcomes, rates and, in
// microseconds, its latencies. With `histograms` also the buckets that merging needs.
[[nodiscard]] nlohmann::json ReportJson(const Options& options, const RunTotals& totals,
                                        const Tallies& tallies);

// The runs' operations added up: rates are summed, histograms merged. kInvalidArgument unless all
// were written with --histograms and ran at the same time for equally long.
[[nodiscard]] Result<nlohmann::json> MergeReports(const std::vector<nlohmann::json>& reports);

// For people, from the JSON.
[[nodiscard]] std::string ReportText(const nlohmann::json& report);

// Operations with this outcome, over all kinds.
[[nodiscard]] std::uint64_t CountOf(const nlohmann::json& report, Outcome outcome);

}  // namespace kdn::bench
