// Goal: tiles that were stored once are read for ever, and are still written the same way.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "codec/kernels/select.h"
#include "tests/codec/golden_tiles.h"
#include "tests/codec/tile.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

std::vector<std::byte> ReadGolden(const std::string& name) {
  std::ifstream file(std::string(KDN_GOLDEN_DIR "/") + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

TEST(GoldenTiles, GoodOnesDecodeToTheirValuesAndAreWrittenAlike) {
  for (const DType dtype : kAllDTypes) {
    const std::vector<std::byte> tile = ReadGolden(GoldenName(dtype));
    for (const Kernels* kernels : SupportedKernels()) {
      SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + std::string(kernels->name));
      EXPECT_EQ(DecodeValues(*kernels, GoldenShape(dtype), tile), GoldenValues(dtype));
      EXPECT_EQ(EncodeValues(*kernels, GoldenShape(dtype), GoldenValues(dtype), 1 << 20), tile);
    }
  }
}

TEST(GoldenTiles, BrokenOnesAreRefused) {
  for (const GoldenDamage& damage : GoldenDamages()) {
    const std::vector<std::byte> tile = ReadGolden(damage.name);
    for (const Kernels* kernels : SupportedKernels()) {
      EXPECT_FALSE(DecodeValues(*kernels, GoldenShape(DType::kBf16), tile)) << damage.name;
    }
  }
}

}  // namespace
}  // namespace kdn::codec
