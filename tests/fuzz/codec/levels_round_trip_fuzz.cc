// Any values of any type at all levels, with and without a profile: kernel tables write the same
// tiles and read the same values at each level, and exact gives back every bit.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "tests/fuzz/codec/chosen_kernels.h"
#include "tests/fuzz/codec/tile_input.h"

namespace {

using namespace kdn::codec;
using kdn::Level;
using kdn::TileScheme;

// The input over and over: repetition gives channels with means and little spread.
std::vector<std::byte> Repeat(kdn::ConstBytes bytes, std::size_t size) {
  std::vector<std::byte> values(size);
  for (std::size_t at = 0; !bytes.empty() && at < size; at += bytes.size()) {
    std::memcpy(values.data() + at, bytes.data(), std::min(bytes.size(), size - at));
  }
  return values;
}

}  // namespace

// The shape is read as that of a tile is; what would be the last tile are the values.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kTileInputHeadBytes) return 0;
  const TileInput input = ReadTileInput(std::as_bytes(std::span(data, size)));
  OneTile one(input.tile);
  const auto values = Repeat(input.levels.back(), one.shape().raw_bytes());
  const Profile* profile = ProfileFor(one, input.profile);
  const auto last = static_cast<Level>(input.levels.size() - 1);
  one.SetValues(values);
  TileScheme exact = TileScheme::kRaw;
  const auto [scalar, other] = ChosenKernels(input.kernels);
  const LevelTiles tiles = one.Encode(*scalar, profile, last, exact);
  TileScheme scheme = TileScheme::kRaw;
  if (one.Encode(*other, profile, last, scheme) != tiles || scheme != exact) std::abort();
  if (tiles[3].size() > one.shape().raw_bytes()) std::abort();

  const std::vector<kdn::ConstBytes> views(
      tiles.begin(), tiles.begin() + static_cast<std::ptrdiff_t>(input.levels.size()));
  const std::vector<TileBytes> all = one.TilesOf(views, exact);
  const std::int64_t moved = last == Level::kExact ? 0 : input.moved;
  std::optional<std::vector<std::byte>> want;
  for (const Kernels* kernels : {scalar, other}) {
    if (!one.Decode(*kernels, profile, all, moved).ok()) std::abort();
    if (!want) want = one.Values();
    if (one.Values() != want) std::abort();
  }
  if (last == Level::kExact && want != values) std::abort();
  return 0;
}
