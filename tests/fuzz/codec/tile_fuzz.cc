// A tile of byte planes from bytes that anyone may have written, for a shape that the first bytes
// choose: every kernel table refuses it, or all decode it to the same values, and those can be
// coded again and come back.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "codec/kernels/select.h"
#include "tests/codec/tile.h"
#include "tests/fuzz/codec/planes_shape.h"

namespace {

using kdn::codec::TileShape;

void Check(const TileShape& shape, kdn::ConstBytes tile) {
  std::optional<std::vector<std::byte>> first;
  const auto all = kdn::codec::SupportedKernels();
  for (const kdn::codec::Kernels* kernels : all) {
    const auto values = kdn::codec::DecodeValues(*kernels, shape, tile);
    if (kernels == all.front()) first = values;
    if (values != first) std::abort();
  }
  if (!first) return;
  const std::size_t bound = 4 * shape.raw_bytes() + 4096;
  const auto again = kdn::codec::EncodeValues(*all.back(), shape, *first, bound);
  if (kdn::codec::DecodeValues(*all.back(), shape, again) != first) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  if (size < kdn::codec::kPlanesShapeBytes) return 0;
  Check(kdn::codec::ReadPlanesShape(bytes), bytes.subspan(kdn::codec::kPlanesShapeBytes));
  return 0;
}
