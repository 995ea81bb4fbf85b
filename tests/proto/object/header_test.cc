// Goal: a header survives its encoding unchanged, and nothing that is not one passes for one.
#include "proto/object/header.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "tests/proto/object/golden_cases.h"
#include "tests/proto/object/repair.h"

namespace kdn {
namespace {

ObjectHeader FullHeader() {
  return test::GoldenHeader();
}

TEST(Header, EveryFieldSurvivesTheRoundTrip) {
  const ObjectHeader header = FullHeader();
  const Result<ObjectHeader> decoded = DecodeHeader(EncodeHeader(header));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(*decoded, header);
}

TEST(Header, EverySingleBitFlipIsCaught) {
  HeaderBytes bytes = EncodeHeader(FullHeader());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{static_cast<unsigned char>(1U << (bit % 8))};
    ASSERT_FALSE(DecodeHeader(bytes)) << "byte " << bit / 8 << " bit " << bit % 8;
    bytes[bit / 8] ^= std::byte{static_cast<unsigned char>(1U << (bit % 8))};
  }
}

TEST(Header, EveryShorterInputIsDataLoss) {
  const HeaderBytes bytes = EncodeHeader(FullHeader());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(DecodeHeader(ConstBytes(bytes).first(size)).error().code(), Code::kDataLoss);
  }
}

TEST(Header, MoreBytesMayFollow) {
  const HeaderBytes header = EncodeHeader(FullHeader());
  std::vector<std::byte> bytes(header.begin(), header.end());
  bytes.resize(bytes.size() + 100);
  EXPECT_TRUE(DecodeHeader(bytes));
}

TEST(Header, NewerFormatIsUnimplementedNotDataLoss) {
  HeaderBytes bytes = EncodeHeader(FullHeader());
  bytes[8] = std::byte{kObjectFormatVersion + 1};
  EXPECT_EQ(DecodeHeader(bytes).error().code(), Code::kUnimplemented);
}

TEST(Header, ReservedBytesMustBeZeroEvenWithARightChecksum) {
  for (const std::size_t reserved : {14U, 15U, 260U, 367U}) {
    HeaderBytes bytes = EncodeHeader(FullHeader());
    bytes[reserved] = std::byte{1};
    test::RepairHeader(bytes);
    EXPECT_EQ(DecodeHeader(bytes).error().code(), Code::kDataLoss) << reserved;
  }
}

TEST(Header, FormatZeroIsDataLossEvenWithARightChecksum) {
  HeaderBytes bytes = EncodeHeader(FullHeader());
  bytes[8] = std::byte{0};
  test::RepairHeader(bytes);
  EXPECT_EQ(DecodeHeader(bytes).error().code(), Code::kDataLoss);
}

struct BadField {
  const char* name;
  std::function<void(ObjectHeader&)> spoil;
};

class HeaderWithABadField : public testing::TestWithParam<BadField> {};

TEST_P(HeaderWithABadField, IsDataLossThoughItsChecksumHolds) {
  ObjectHeader header = FullHeader();
  GetParam().spoil(header);
  EXPECT_EQ(DecodeHeader(EncodeHeader(header)).error().code(), Code::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    All, HeaderWithABadField,
    testing::Values(
        BadField{"Kind", [](auto& h) { h.kind = static_cast<ObjectKind>(3); }},
        BadField{"Flags", [](auto& h) { h.flags = 8; }},
        BadField{"DType", [](auto& h) { h.dtype = static_cast<DType>(5); }},
        BadField{"NoLevels", [](auto& h) { h.levels_encoded = LevelSet(); }},
        BadField{"UnknownLevel", [](auto& h) { h.levels_encoded = LevelSet(std::uint8_t{16}); }},
        BadField{"BytesOfNoLevel", [](auto& h) { h.levels_encoded.Remove(Level::kFine); }},
        BadField{"LevelWithoutBytes", [](auto& h) { h.level_bytes[1] = 0; }},
        BadField{"LevelTooLarge", [](auto& h) { h.level_bytes[1] = limits::kSegmentBytesMax + 1; }},
        BadField{"ObjectTooLarge",
                 [](auto& h) { h.level_bytes.fill(limits::kSegmentBytesMax / 2 + 1); }},
        BadField{"ExactAloneWithOthers", [](auto& h) { h.flags = kFlagExactAlone; }},
        BadField{"ExactOverNothing",
                 [](auto& h) {
                   h.levels_encoded = Level::kExact;
                   h.level_bytes = {0, 0, 0, 4004};
                 }},
        BadField{"PartBeyondCount", [](auto& h) { h.part.number = 4; }},
        BadField{"TooManyParts", [](auto& h) { h.part.count = limits::kPartsPerChunkMax + 1; }},
        BadField{"NoLayers", [](auto& h) { h.part.layers.count = 0; }},
        BadField{"TooManyLayers", [](auto& h) { h.part.layers = {1000, 25}; }},
        BadField{"NoHeads", [](auto& h) { h.part.kv_heads.count = 0; }},
        BadField{"TooManyHeads", [](auto& h) { h.part.kv_heads = {65535, 65535}; }},
        BadField{"NoLayersPerGroup", [](auto& h) { h.layers_per_group = 0; }},
        BadField{"NoHeadsPerGroup", [](auto& h) { h.heads_per_group = 0; }},
        BadField{"NoTokens", [](auto& h) { h.token_count = 0; }},
        BadField{"TooManyTokens", [](auto& h) { h.token_count = 4097; }},
        BadField{"PositionTooFar", [](auto& h) { h.first_position = ~std::uint64_t{0}; }}),
    [](const auto& bad) { return std::string(bad.param.name); });

TEST(Header, ExactMayStandAlone) {
  ObjectHeader header = FullHeader();
  header.flags = kFlagExactAlone;
  header.levels_encoded = Level::kExact;
  header.level_bytes = {0, 0, 0, 4004};
  EXPECT_TRUE(DecodeHeader(EncodeHeader(header)));
}

TEST(ObjectBytes, CountsHeaderAndAllLevels) {
  EXPECT_EQ(ObjectBytes(FullHeader()), 384U + 1001 + 2002 + 3003 + 4004);
}

TEST(Range, IntersectsAndContainsAsHalfOpenIntervals) {
  const Range range{4, 4};
  EXPECT_TRUE(range.Intersects({7, 1}));
  EXPECT_FALSE(range.Intersects({8, 1}));
  EXPECT_FALSE(range.Intersects({0, 4}));
  EXPECT_TRUE(range.Contains({4, 4}));
  EXPECT_FALSE(range.Contains({3, 2}));
  EXPECT_EQ((Range{65535, 65535}.end()), 131070U);
}

}  // namespace
}  // namespace kdn
