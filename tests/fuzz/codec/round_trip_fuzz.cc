// Any values of any type: kernel tables write the same tile, and each reads the values
// back bit for bit.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/codec/tile.h"
#include "tests/fuzz/codec/chosen_kernels.h"
#include "tests/fuzz/codec/planes_shape.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kdn::codec::kPlanesShapeBytes) return 0;
  const kdn::codec::TileShape shape =
      kdn::codec::ReadPlanesShape(std::as_bytes(std::span(data, size)));
  // The rest, over and over: repetition gives planes that compress.
  std::vector<std::byte> values(shape.raw_bytes());
  const std::size_t period = size - kdn::codec::kPlanesShapeBytes;
  for (std::size_t at = 0; period > 0 && at < values.size(); at += period) {
    std::memcpy(&values[at], data + kdn::codec::kPlanesShapeBytes,
                std::min(period, values.size() - at));
  }
  const std::size_t bound = 4 * shape.raw_bytes() + 4096;
  const auto [scalar, other] = kdn::codec::ChosenKernels(data[1] / 8);
  const auto tile = kdn::codec::EncodeValues(*scalar, shape, values, bound);
  if (tile.empty()) std::abort();
  if (kdn::codec::EncodeValues(*other, shape, values, bound) != tile) std::abort();
  for (const kdn::codec::Kernels* kernels : {scalar, other}) {
    if (kdn::codec::DecodeValues(*kernels, shape, tile) != values) std::abort();
  }
  return 0;
}
