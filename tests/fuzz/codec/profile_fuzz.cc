// A profile from bytes that anyone may have written: refused, or it means exactly those bytes, and
// then whatever is in it kernel tables code the same values to the same tiles, exact gives them
// back, and tiles that were coded with another profile are refused or decode alike.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "tests/codec/one_tile.h"
#include "tests/codec/values.h"
#include "tests/fuzz/codec/chosen_kernels.h"
#include "tests/fuzz/codec/profile_seeds.h"

namespace {

using namespace kdn::codec;
using kdn::Level;
using kdn::TileScheme;

using Outcome = std::optional<std::vector<std::byte>>;

// The values at the level of the last tile, the same from every kernel table.
Outcome Decode(OneTile& one, const Profile& profile, std::span<const TileBytes> tiles,
               const std::array<const Kernels*, 2>& tables) {
  std::optional<Outcome> want;
  for (const Kernels* kernels : tables) {
    Outcome got;
    const kdn::Status status = one.Decode(*kernels, &profile, tiles, 0);
    if (status.ok()) got = one.Values();
    if (!status.ok() && status.code() != kdn::Code::kDataLoss) std::abort();
    if (!want) want = got;
    if (got != *want) std::abort();
  }
  return *want;
}

// One tile of the model, its values, and its tiles as coded with another profile.
struct Sample {
  explicit Sample(kdn::Plane plane) : one(ProfileTile(plane)) {
    values = MakeValues(kdn::DType::kBf16, Pattern::kGaussian, one.shape().values(), 5);
    one.SetValues(values);
    const Profile other = MadeProfile(one.spec(), 1);
    foreign = one.Encode(kScalarKernels, &other, Level::kExact, foreign_exact);
  }
  OneTile one;
  std::vector<std::byte> values;
  LevelTiles foreign;
  TileScheme foreign_exact = TileScheme::kRaw;
};

void CheckTile(Sample& sample, const Profile& profile, std::size_t levels,
               const std::array<const Kernels*, 2>& tables) {
  OneTile& one = sample.one;
  const std::vector<kdn::ConstBytes> foreign(sample.foreign.begin(), sample.foreign.end());
  (void)Decode(one, profile, one.TilesOf(std::span(foreign).first(levels), sample.foreign_exact),
               tables);
}

void CheckCoding(Sample& sample, const Profile& profile, std::size_t levels,
                 const std::array<const Kernels*, 2>& tables) {
  OneTile& one = sample.one;
  one.SetValues(sample.values);
  const auto last = static_cast<Level>(levels - 1);
  TileScheme exact = TileScheme::kRaw;
  const LevelTiles tiles = one.Encode(*tables[0], &profile, last, exact);
  TileScheme scheme = TileScheme::kRaw;
  if (one.Encode(*tables[1], &profile, last, scheme) != tiles || scheme != exact) std::abort();
  const std::vector<kdn::ConstBytes> views(tiles.begin(), tiles.end());
  const Outcome got =
      Decode(one, profile, one.TilesOf(std::span(views).first(levels), exact), tables);
  if (!got || (last == Level::kExact && *got != sample.values)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Sample keys(kdn::Plane::kK);
  static Sample values(kdn::Plane::kV);
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  kdn::Result<Profile> profile = Profile::Decode(keys.one.spec(), bytes);
  if (!profile) {
    const kdn::Code code = profile.error().code();
    if (code != kdn::Code::kDataLoss && code != kdn::Code::kUnimplemented) std::abort();
    return 0;
  }
  if (!std::equal(bytes.begin(), bytes.end(), profile->bytes().begin(), profile->bytes().end())) {
    std::abort();
  }
  // Which plane and how many levels is the input's choice, for speed.
  std::size_t choice = 0;
  for (const std::byte b : bytes) choice += static_cast<std::size_t>(b);
  Sample& sample = (choice & 1) != 0 ? keys : values;
  const std::size_t levels = 1 + choice / 2 % kdn::kLevelCount;
  const auto tables = ChosenKernels(choice / 8);
  CheckTile(sample, *profile, levels, tables);
  if (profile->FinishForEncoding().ok()) CheckCoding(sample, *profile, levels, tables);
  return 0;
}
