// A tile of byte planes from bytes that anyone may have written, for a shape that the first bytes
// choose: every kernel table refuses it, or all decode it to the same values, and those can be
// coded again and come back.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "codec/kernels/select.h"
#include "tests/codec/golden_tiles.h"
#include "tests/codec/tile.h"

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

// The golden tiles, which are the corpus, have no shape in front: they are tried as they are.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  for (int dtype = 0; dtype < 5; ++dtype) {
    Check(kdn::codec::GoldenShape(static_cast<kdn::DType>(dtype)), bytes);
  }
  if (size < 4) return 0;
  const TileShape shape{.dtype = static_cast<kdn::DType>(data[0] % 5),
                        .layers = 1U + data[1] % 3,
                        .heads = 1U + data[1] / 64,
                        .tokens = 1U + data[2],
                        .head_size = 1U + data[3] % 80};
  Check(shape, bytes.subspan(4));
  return 0;
}
