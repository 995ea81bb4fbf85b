// Reads back what MetricRegistry::Render() has written, so that what is told to a coordinator is
// what is exported, by the same names.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace kdn {

// The sum of a counter or gauge family over all label sets whose text contains `label`
// (`tier="dram"`); empty: all of them. 0 if there is none.
[[nodiscard]] std::uint64_t MetricSum(std::string_view text, std::string_view name,
                                      std::string_view label = {});

// How many records each of a histogram's buckets has, over all label sets; empty if there is none.
[[nodiscard]] std::vector<std::uint64_t> MetricBuckets(std::string_view text,
                                                       std::string_view name);

}  // namespace kdn
