// Tiles of draft to exact from bytes that anyone may have written, with and without a profile, cut
// after each level: every kernel table refuses them and writes nothing, or all write the same
// values; and what is asked of the kernels is bounded by the tile's shape.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "codec/kernels/select.h"
#include "tests/codec/counted_kernels.h"
#include "tests/fuzz/codec/tile_input.h"

namespace {

using namespace kdn::codec;
using kdn::TileScheme;

constexpr std::byte kPoison{0xA5};

void CheckWork(const OneTile& one) {
  const KernelWork work = TakeWork();
  const std::size_t values = one.shape().values();
  // Symbols of the nested levels and of what exact adds.
  if (work.symbols > 2 * values || work.blocks > 2 * (values / kdn::codec::kRansLanes + 1)) {
    std::abort();
  }
  if (work.codes > values || work.values > values) std::abort();
  if (work.products > values * kMatrixBlockMax) std::abort();
}

struct Outcome {
  kdn::Code code;
  std::vector<std::byte> memory;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome DecodeWith(const Kernels& kernels, OneTile& one, const Profile* profile,
                   std::span<const TileBytes> tiles, std::int64_t moved) {
  std::fill(one.memory().begin(), one.memory().end(), kPoison);
  const kdn::Code code = one.Decode(kernels, profile, tiles, moved).code();
  if (code != kdn::Code::kOk) {
    if (code != kdn::Code::kDataLoss) std::abort();
    const auto untouched = [](std::byte b) { return b == kPoison; };
    if (!std::all_of(one.memory().begin(), one.memory().end(), untouched)) std::abort();
  }
  return {code, one.memory()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kTileInputHeadBytes) return 0;
  const TileInput input = ReadTileInput(std::as_bytes(std::span(data, size)));
  OneTile one(input.tile, input.decoded_tokens);
  const Profile* profile = ProfileFor(one, input.profile);
  const std::vector<TileBytes> tiles = one.TilesOf(input.levels, input.exact);
  (void)TakeWork();
  const Outcome want = DecodeWith(kCountedKernels, one, profile, tiles, input.moved);
  CheckWork(one);
  for (const Kernels* kernels : SupportedKernels()) {
    if (kernels == &kScalarKernels) continue;
    if (DecodeWith(*kernels, one, profile, tiles, input.moved) != want) std::abort();
  }
  return 0;
}
