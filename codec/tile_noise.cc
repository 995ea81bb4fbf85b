#include "codec/tile_noise.h"

#include <algorithm>
#include <array>

#include "codec/byte_planes.h"
#include "codec/paged_rows.h"
#include "codec/plane_layout.h"

namespace kdn::codec {
namespace {

// Whether tokens from all over a strip are noise in every plane: to take the strip apart and learn
// that at the end costs as much as to store it. No layout of the memory changes the answer.
bool IsNoiseStrip(const Kernels& kernels, const Memory& memory, const TileCoordinates& at,
                  const TilePlace& place, std::size_t strip) {
  const TileShape& shape = place.shape;
  const auto layouts = PlanesOf(shape.dtype);
  const std::uint32_t tokens =
      std::max<std::uint32_t>(1, kNoiseSampleSymbols / static_cast<std::uint32_t>(shape.head_size));
  if (shape.strip_values() < kNoiseRunMin || shape.head_size > kNoiseSampleSymbols) return false;
  const std::size_t sample = tokens * shape.head_size;
  std::array<std::array<std::uint8_t, kNoiseSamples * kNoiseSampleSymbols>, kPlanesMax> symbols;
  for (std::uint32_t i = 0; i < kNoiseSamples; ++i) {
    ChunkPlace part = memory.place;
    part.first_token += std::uint64_t{i} * (shape.tokens - tokens) / (kNoiseSamples - 1);
    part.token_count = tokens;
    const Memory part_memory{memory.kv, memory.blocks, part};
    const TileMemory values(part_memory, place, at.kv_heads);
    PlanePointers planes{};
    for (std::size_t p = 0; p < layouts.size(); ++p) planes[p] = symbols[p].data() + i * sample;
    GatherPlanes(kernels, values.format(), values.Rows(strip), planes);
  }
  for (std::size_t p = 0; p < layouts.size(); ++p) {
    const auto samples = std::span(symbols[p]).first(kNoiseSamples * sample);
    if (!IsNoise(samples, layouts[p].raw_bits)) return false;
  }
  return true;
}

}  // namespace

bool IsNoiseTile(const Kernels& kernels, const Memory& memory, const TileCoordinates& at,
                 const TilePlace& place) {
  for (std::size_t s = 0; s < place.shape.strips(); ++s) {
    if (!IsNoiseStrip(kernels, memory, at, place, s)) return false;
  }
  return true;
}

}  // namespace kdn::codec
