// Which layers and heads parts and memory have in common, and whether parts leave any out. Parts
// are what other writers said of themselves: nothing is taken for stored that none of them names.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "client/core/kv_copy.h"
#include "proto/object/header.h"
#include "proto/object/model_spec.h"
#include "proto/wire/lookup.h"

namespace kdn::client {

// What is in both; empty if nothing is.
[[nodiscard]] Range Intersection(const Range& a, const Range& b);

// Those of `kv_heads` that this layer has: groups of a hybrid model differ in how many they have.
[[nodiscard]] Range HeadsOfLayer(const ModelSpec& spec, std::uint32_t layer, const Range& kv_heads);

// Whether these parts together have every head of every layer that the memory holds.
[[nodiscard]] bool PartsCover(std::span<const wire::PartLocation> parts, const KvCopy& memory);

}  // namespace kdn::client
