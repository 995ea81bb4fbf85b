// Any values of any type: every kernel table writes the same tile, and every one reads the values
// back bit for bit.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "codec/kernels/select.h"
#include "tests/codec/tile.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  // Mostly small, for speed; runs of several blocks now and then.
  const kdn::codec::TileShape shape{.dtype = static_cast<kdn::DType>(data[0] % 5),
                                    .layers = 1U + data[0] / 128,
                                    .heads = 1U + data[1] % 4,
                                    .tokens = 1U + (data[2] < 240 ? data[2] % 40 : data[2]),
                                    .head_size = 1U + data[3] % 80};
  // The rest, over and over: repetition gives planes that compress.
  std::vector<std::byte> values(shape.raw_bytes());
  const std::size_t period = size - 4;
  for (std::size_t at = 0; period > 0 && at < values.size(); at += period) {
    std::memcpy(&values[at], data + 4, std::min(period, values.size() - at));
  }
  const std::size_t bound = 4 * shape.raw_bytes() + 4096;
  const auto tile = kdn::codec::EncodeValues(kdn::codec::kScalarKernels, shape, values, bound);
  if (tile.empty()) std::abort();
  for (const kdn::codec::Kernels* kernels : kdn::codec::SupportedKernels()) {
    if (kdn::codec::EncodeValues(*kernels, shape, values, bound) != tile) std::abort();
    if (kdn::codec::DecodeValues(*kernels, shape, tile) != values) std::abort();
  }
  return 0;
}
