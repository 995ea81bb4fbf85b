#include "tests/codec/tile.h"

#include "codec/byte_planes.h"
#include "codec/plane_layout.h"

namespace kdn::codec {

std::vector<std::byte> EncodeValues(const Kernels& kernels, const TileShape& shape,
                                    ConstBytes values, std::size_t size_max) {
  const std::size_t plane_count = PlanesOf(shape.dtype).size();
  std::vector<std::uint8_t> symbols(plane_count * shape.values());
  PlanePointers planes{};
  for (std::size_t p = 0; p < plane_count; ++p) planes[p] = symbols.data() + p * shape.values();
  kernels.split[static_cast<std::size_t>(shape.dtype)](values.data(), 0, 1, shape.values(),
                                                       planes.data());
  std::vector<std::byte> memory;
  Scratch scratch(memory, EncodePlanesRoom(shape));
  std::vector<std::byte> tile(size_max);
  tile.resize(EncodeBytePlanes(kernels, shape, planes, tile, scratch));
  return tile;
}

std::optional<std::vector<std::byte>> DecodeValues(const Kernels& kernels, const TileShape& shape,
                                                   ConstBytes tile) {
  std::vector<std::byte> memory;
  Scratch scratch(memory, DecodePlanesRoom(shape));
  const std::vector<std::uint8_t> wanted(shape.strips(), 1);
  std::vector<ConstPlanePointers> strips(shape.strips());
  if (!DecodeBytePlanes(kernels, shape, tile, wanted, shape.tokens, scratch, strips))
    return std::nullopt;
  std::vector<std::byte> values(shape.raw_bytes());
  for (std::size_t s = 0; s < strips.size(); ++s) {
    kernels.merge[static_cast<std::size_t>(shape.dtype)](
        strips[s].data(), 1, shape.strip_values(), values.data() + s * shape.strip_bytes(), 0);
  }
  return values;
}

}  // namespace kdn::codec
