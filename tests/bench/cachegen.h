// CacheGen as its artifact and LMCache ship it, the baseline of our sizes: one scale for each layer
// and token over the channels of all heads, uniform bins whose number depends on the layer, an
// adaptive distribution for each layer and channel that every chunk brings along, and an arithmetic
// coder for each layer, channel and 256 tokens. Keys are coded as engines hold them, turned.
//
// Thread-safety: pure functions and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/bench/level_chunks.h"

namespace kdn::bench {

// How many bins the values of each layer fall into; an even number, one of which stays unused.
struct CachegenBins {
  std::vector<int> keys;
  std::vector<int> values;
};

// What LMCache sets for any model of so many layers.
[[nodiscard]] CachegenBins LmcacheBins(std::size_t layers);
// The artifact's levels for Mistral-7B, 1 (smallest) to 3 (best), their borders scaled from its 32
// layers.
[[nodiscard]] CachegenBins ArtifactBins(int level, std::size_t layers);

// Bytes of the container's parts. What pickle and the names of its fields take is not counted.
struct CachegenBytes {
  double streams = 0.0;        // of the arithmetic coder
  double distributions = 0.0;  // 16 bits for each symbol and one more, by layer and channel
  double lengths = 0.0;        // 4 for each stream
  double scales = 0.0;         // 2 for each layer and token of K and of V

  [[nodiscard]] double Total() const { return streams + distributions + lengths + scales; }
  CachegenBytes& operator+=(const CachegenBytes& other);
};

// Codes the chunk, decodes it again into `out`, which has its shape, and says what that took. Every
// stream is decoded and compared; a difference ends the program.
CachegenBytes CodeWithCachegen(const ChunkMemory& chunk, const CachegenBins& bins,
                               ChunkMemory& out);

}  // namespace kdn::bench
