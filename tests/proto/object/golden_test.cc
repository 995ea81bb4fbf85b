// Goal: what was stored once is read for ever. The files of tests/golden/object are the format; a
// change that needs a new file in place of an old one breaks it.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "proto/object/segment.h"
#include "tests/proto/object/golden_cases.h"

namespace kdn {
namespace {

using test::GoldenCase;

std::vector<std::byte> ReadGolden(const GoldenCase& golden) {
  const std::string path = std::string(KDN_GOLDEN_DIR) + "/" + std::string(golden.parser) + "/" +
                           std::string(golden.name) + ".bin";
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

class Golden : public testing::TestWithParam<GoldenCase> {};

TEST_P(Golden, FileHoldsWhatThisVersionWrites) {
  EXPECT_EQ(ReadGolden(GetParam()), GetParam().bytes);
}

TEST_P(Golden, FileDecodesAsItShould) {
  GoldenCase golden = GetParam();
  golden.bytes = ReadGolden(golden);
  const Status status = DecodeGolden(golden);
  EXPECT_EQ(status.code(), golden.code) << status.ToString();
  EXPECT_NE(status.message().find(golden.message), std::string::npos) << status.ToString();
}

INSTANTIATE_TEST_SUITE_P(Object, Golden, testing::ValuesIn(test::GoldenCases()),
                         [](const auto& golden) {
                           return std::string(golden.param.parser) + "_" +
                                  std::string(golden.param.name);
                         });

TEST(GoldenHeader, HasTheFieldsItWasMadeOf) {
  const auto header = DecodeHeader(ReadGolden({.parser = "header", .name = "full"}));
  ASSERT_TRUE(header);
  EXPECT_EQ(*header, test::GoldenHeader());
}

TEST(GoldenModelSpec, HasTheFieldsItWasMadeOf) {
  const auto spec = DecodeModelSpec(ReadGolden({.parser = "model_spec", .name = "hybrid"}));
  ASSERT_TRUE(spec);
  EXPECT_EQ(*spec, test::GoldenModelSpec());
}

TEST(GoldenIndex, HasTheTilesItWasMadeOf) {
  const auto index =
      DecodeIndex(ReadGolden({.parser = "index", .name = "four_tiles"}), test::GoldenTag());
  ASSERT_TRUE(index);
  EXPECT_EQ(index->level, Level::kStandard);
  ASSERT_EQ(index->tiles.size(), 4U);
  EXPECT_EQ(index->tiles[3].at.layers, (Range{4, 2}));
  EXPECT_EQ(index->tiles[3].at.plane, Plane::kV);
  EXPECT_EQ(index->tiles[3].checksum.bytes[0], std::byte{4});
}

}  // namespace
}  // namespace kdn
