// How much attention feels an error of each channel of keys and values: what a profile's bins
// follow where somebody has queries to look at.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/bench/recorded_text.h"

namespace kdn::bench {

// By strip, in the order of Profile's strips (layer, plane, head), and channel: by how much the
// square of the layer's relative error of attention grows for a unit of noise in that channel of
// every token, to first order. With a = the weights of attention, o = the head's output:
//
//   values  E[Σ a²] / E[|o|²]
//   keys    E[Σ a² |v − o|²] / E[|o|²] · E[q²] / head size, q seen from where the key stands
//
// Expectations are over query heads of a KV head, some tokens, and the contexts; |o|² is of all
// heads of the layer.
[[nodiscard]] std::vector<std::vector<double>> AttentionWeights(
    const std::vector<const TextContext*>& contexts, std::uint32_t query_heads,
    const Rotary& rotary);

}  // namespace kdn::bench
