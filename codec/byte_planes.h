// The tile scheme kBytePlanes, version 1: every plane of every strip (a run) is constant, raw or
// rANS-coded, whichever is smallest. docs/codec.md specifies the bytes.
//
// Knows nothing of paged memory, models or checksums. Thread-safety: pure functions; scratch
// belongs to the call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "codec/kernels/kernels.h"
#include "codec/scratch.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

using PlanePointers = std::array<std::uint8_t*, kPlanesMax>;
using ConstPlanePointers = std::array<const std::uint8_t*, kPlanesMax>;

// Scratch that EncodeBytePlanes() takes.
[[nodiscard]] std::size_t EncodePlanesRoom(const TileShape& shape);

// What IsNoise() looks at: so many symbols from all over a run, of runs of at least kNoiseRunMin.
inline constexpr std::size_t kNoiseSamples = 32;
inline constexpr std::size_t kNoiseSampleSymbols = 256;
inline constexpr std::size_t kNoiseRunMin = 4 * kNoiseSamples * kNoiseSampleSymbols;

// Whether these samples of a plane, stored raw at `raw_bits` each, cost as much coded as they do
// raw.
[[nodiscard]] bool IsNoise(std::span<const std::uint8_t> samples, unsigned raw_bits);

// Codes the planes of a tile; plane p of strip s begins at planes[p] + s · strip_values(). Returns
// the bytes written, or 0 if the tile does not fit into `out`, whose contents are then unspecified.
// Requires: symbols below 2^bits of their plane.
[[nodiscard]] std::size_t EncodeBytePlanes(const Kernels& kernels, const TileShape& shape,
                                           const PlanePointers& planes, MutableBytes out,
                                           Scratch& scratch);

// Scratch that DecodeBytePlanes() takes.
[[nodiscard]] std::size_t DecodePlanesRoom(const TileShape& shape);

// Decodes the strips s with wanted[s] != 0 and points strips[s][p] at their planes, which lie in
// scratch or in `tile`. False if the tile is not what EncodeBytePlanes() writes, as far as can be
// told from its directory, padding and the wanted strips. Of those the first `tokens` are wanted;
// what strips[s] has of the others is unspecified. Any bytes are safe; at most
// kTileSymbolsPerByteMax symbols are decoded for each of them, and as many set as are wanted. Raw
// symbols may have bits above their plane's width: merge drops them.
[[nodiscard]] bool DecodeBytePlanes(const Kernels& kernels, const TileShape& shape, ConstBytes tile,
                                    std::span<const std::uint8_t> wanted, std::size_t tokens,
                                    Scratch& scratch, std::span<ConstPlanePointers> strips);

}  // namespace kdn::codec
