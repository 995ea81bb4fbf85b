// Writes real encodings into the corpora of this folder: codec_fuzz_seeds CORPUS_FOLDER. Run it
// when a format changes; what fuzzers have found lies beside what it writes and stays.
#include <cstdio>
#include <fstream>
#include <string>

#include "codec/kernels/kernels.h"
#include "tests/codec/tile.h"
#include "tests/codec/values.h"
#include "tests/fuzz/codec/planes_shape.h"
#include "tests/fuzz/codec/profile_seeds.h"
#include "tests/fuzz/codec/tile_input.h"

namespace {

using namespace kdn::codec;

bool Write(const std::string& path, kdn::ConstBytes bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return static_cast<bool>(file.flush());
}

struct Seed {
  std::string name;
  TileInput input;
  Pattern pattern;
};

std::vector<Seed> Seeds() {
  using kdn::DType;
  using kdn::RotaryPairing;
  constexpr auto kNeox = RotaryPairing::kNeox;
  constexpr auto kGptJ = RotaryPairing::kGptJ;
  return {
      {"bf16", {.tile = {.tokens = 3, .pairing = kNeox}}, Pattern::kGaussian},
      {"bf16_long",
       {.tile = {.tokens = 12, .head_size = 64, .pairing = kNeox}, .moved = 5},
       Pattern::kGaussian},
      {"bf16_profile", {.tile = {.tokens = 3, .pairing = kGptJ}, .profile = 1}, Pattern::kGaussian},
      {"bf16_wide",
       {.tile = {.tokens = 7, .head_size = 64, .plane = kdn::Plane::kV}, .profile = 2},
       Pattern::kGaussian},
      {"fp16_profile",
       {.tile = {.dtype = DType::kFp16, .heads = 2, .tokens = 2, .head_size = 16},
        .decoded_tokens = 1,
        .profile = 3},
       Pattern::kHeavyTailed},
      {"fp32", {.tile = {.dtype = DType::kFp32, .tokens = 4}}, Pattern::kSpecials},
      {"fp8_e4m3",
       {.tile = {.dtype = DType::kFp8E4M3, .layers = 2, .tokens = 7, .dims_apart = true}},
       Pattern::kGaussian},
      {"fp8_e5m2",
       {.tile = {.dtype = DType::kFp8E5M2, .tokens = 12, .head_size = 16}, .profile = 1},
       Pattern::kZeroHeavy},
      {"random_bits", {.tile = {.tokens = 4}, .profile = 2}, Pattern::kRandomBits},
  };
}

bool WriteSeed(const std::string& folder, const Seed& seed) {
  OneTile one(seed.input.tile);
  const auto values =
      MakeValues(seed.input.tile.dtype, seed.pattern, one.shape().values(), seed.name.size());
  one.SetValues(values);
  const Profile profile = MadeProfile(one.spec(), seed.input.profile);
  TileInput input = seed.input;
  const LevelTiles tiles = one.Encode(kScalarKernels, input.profile == 0 ? nullptr : &profile,
                                      kdn::Level::kExact, input.exact);
  input.levels.assign(tiles.begin(), tiles.end());
  bool decodes = Write(folder + "codec_levels/" + seed.name, WriteTileInput(input));
  // Exact of so few values is raw and looks at no other level.
  input.levels.pop_back();
  decodes = Write(folder + "codec_levels/" + seed.name + "_fine", WriteTileInput(input)) && decodes;
  // Values of all four levels, the first three of which are said to have no bytes.
  input.levels = {{}, {}, {}, values};
  return Write(folder + "codec_levels_round_trip/" + seed.name, WriteTileInput(input)) && decodes;
}

// A tile of byte planes: Gaussian, constant, mostly zeros, random, a strip each.
bool WritePlanes(const std::string& folder, kdn::DType dtype) {
  const TileShape shape{.dtype = dtype, .layers = 2, .heads = 2, .tokens = 7, .head_size = 9};
  std::vector<std::byte> values;
  for (const Pattern pattern :
       {Pattern::kGaussian, Pattern::kConstant, Pattern::kZeroHeavy, Pattern::kRandomBits}) {
    const auto strip = MakeValues(dtype, pattern, shape.strip_values(), values.size());
    values.insert(values.end(), strip.begin(), strip.end());
  }
  const auto write = [&](const std::string& target, kdn::ConstBytes bytes) {
    std::vector<std::byte> input = WritePlanesShape(shape);
    input.insert(input.end(), bytes.begin(), bytes.end());
    return Write(folder + target + std::string(kdn::DTypeName(dtype)), input);
  };
  const auto tile = EncodeValues(kScalarKernels, shape, values, 1 << 16);
  return write("codec_tile/", tile) && write("codec_round_trip/", values);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: codec_fuzz_seeds CORPUS_FOLDER\n");
    return 2;
  }
  const std::string folder = std::string(argv[1]) + "/";
  bool good = true;
  for (const Seed& seed : Seeds()) good = WriteSeed(folder, seed) && good;
  for (const kdn::DType dtype : kAllDTypes) good = WritePlanes(folder, dtype) && good;
  const OneTile model(ProfileTile(kdn::Plane::kK));
  for (const std::uint64_t seed : {1U, 2U, 4U, 7U}) {
    const Profile profile = MadeProfile(model.spec(), seed);
    good = Write(folder + "codec_profile/made_" + std::to_string(seed), profile.bytes()) && good;
  }
  // The first byte says which loops, by which kernels; the rest is what they are given.
  for (unsigned loops = 0; loops < 8; ++loops) {
    auto bytes = MakeValues(kdn::DType::kFp8E4M3, Pattern::kRandomBits, 700, loops);
    bytes[0] = static_cast<std::byte>(loops);
    good = Write(folder + "codec_kernels/random_" + std::to_string(loops), bytes) && good;
  }
  if (!good) std::fprintf(stderr, "codec_fuzz_seeds: cannot write to %s\n", argv[1]);
  return good ? 0 : 1;
}
