// Goal: a whole object verifies exactly when every byte of it is as its writer made it.
#include "proto/object/object.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/support/test_object.h"

namespace kdn {
namespace {

using test::MakeObject;
using test::ObjectOptions;
using test::TestObject;

ObjectOptions SmallObject() {
  ObjectOptions options;
  options.size_bytes = 2400;
  options.levels = kAllLevels;
  return options;
}

TEST(MakeObject, HasTheSizeThatWasAskedFor) {
  for (const std::size_t size_bytes : {2000U, 4001U, 65536U, 1048576U}) {
    ObjectOptions options;
    options.size_bytes = size_bytes;
    EXPECT_EQ(MakeObject(options).bytes.size(), size_bytes);
  }
  EXPECT_EQ(MakeObject(SmallObject()).bytes.size(), 2400U);
}

TEST(MakeObject, SameSeedSameObjectOtherSeedOtherObject) {
  ObjectOptions other = SmallObject();
  other.seed = 2;
  EXPECT_EQ(MakeObject(SmallObject()).bytes, MakeObject(SmallObject()).bytes);
  EXPECT_NE(MakeObject(SmallObject()).bytes, MakeObject(other).bytes);
  EXPECT_FALSE(MakeObject(SmallObject()).header.key == MakeObject(other).header.key);
}

TEST(VerifyObject, EverySingleBitFlipAnywhereIsCaught) {
  TestObject object = MakeObject(SmallObject());
  ASSERT_TRUE(VerifyObject(object.bytes));
  for (std::size_t bit = 0; bit < 8 * object.bytes.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1U << (bit % 8))};
    object.bytes[bit / 8] ^= mask;
    ASSERT_FALSE(VerifyObject(object.bytes)) << "byte " << bit / 8 << " bit " << bit % 8;
    object.bytes[bit / 8] ^= mask;
  }
}

TEST(VerifyObject, AcceptsACutAfterAnySegmentAndNowhereElse) {
  const TestObject object = MakeObject(SmallObject());
  std::set<std::size_t> ends;
  std::size_t end = kObjectHeaderBytes;
  for (const std::uint32_t bytes : object.header.level_bytes) ends.insert(end += bytes);
  for (std::size_t size = 0; size <= object.bytes.size(); ++size) {
    const Result<ObjectDigest> digest = VerifyObject(ConstBytes(object.bytes).first(size));
    ASSERT_EQ(digest.has_value(), ends.contains(size)) << size;
    if (!digest) {
      ASSERT_EQ(digest.error().code(), Code::kDataLoss);
    }
  }
}

TEST(VerifyObject, RefusesBytesAfterTheLastSegment) {
  TestObject object = MakeObject(SmallObject());
  object.bytes.push_back(std::byte{0});
  EXPECT_EQ(VerifyObject(object.bytes).error().code(), Code::kDataLoss);
}

TEST(VerifyObject, DigestTellsObjectsAndTheirCutsApart) {
  const TestObject object = MakeObject(SmallObject());
  ObjectOptions other_bytes = SmallObject();
  other_bytes.seed = 2;
  EXPECT_FALSE(object.digest == MakeObject(other_bytes).digest);
  const std::size_t cut = object.bytes.size() - object.header.level_bytes.back();
  EXPECT_FALSE(object.digest == *VerifyObject(ConstBytes(object.bytes).first(cut)));
}

// An object whose one segment is replaced with `index` and tiles of zeros, all checksums right.
std::vector<std::byte> WithIndex(ObjectHeader header, SegmentIndex index) {
  const std::vector<std::byte> tiles(index.TileBytes());
  for (TileEntry& entry : index.tiles) {
    entry.checksum = TileChecksum(TagOf(header), entry.at, entry.scheme,
                                  ConstBytes(tiles).subspan(entry.offset, entry.size_bytes));
  }
  std::vector<std::byte> segment = EncodeIndex(index, TagOf(header));
  segment.insert(segment.end(), tiles.begin(), tiles.end());
  header.level_bytes[static_cast<std::size_t>(Level::kExact)] =
      static_cast<std::uint32_t>(segment.size());
  const HeaderBytes head = EncodeHeader(header);
  std::vector<std::byte> object(head.begin(), head.end());
  object.insert(object.end(), segment.begin(), segment.end());
  return object;
}

TileEntry Tile(Range layers, Range kv_heads, std::uint32_t offset) {
  TileEntry entry;
  entry.at.layers = layers;
  entry.at.kv_heads = kv_heads;
  entry.offset = offset;
  entry.size_bytes = 8;
  return entry;
}

TEST(VerifyObject, RefusesTilesOfAnotherPartOrAcrossGroups) {
  ObjectHeader header = MakeObject().header;
  header.part.layers = {2, 2};
  header.part.kv_heads = {0, 4};
  const auto verifies = [&header](const TileEntry& tile) {
    return VerifyObject(WithIndex(header, {.tiles = {tile}})).has_value();
  };
  EXPECT_TRUE(verifies(Tile({2, 2}, {0, 2}, 0)));
  EXPECT_TRUE(verifies(Tile({3, 1}, {2, 1}, 0)));
  EXPECT_FALSE(verifies(Tile({1, 1}, {0, 2}, 0))) << "layer before the part's";
  EXPECT_FALSE(verifies(Tile({3, 2}, {0, 2}, 0))) << "layer after the part's";
  EXPECT_FALSE(verifies(Tile({2, 2}, {4, 1}, 0))) << "head after the part's";
  EXPECT_FALSE(verifies(Tile({2, 2}, {1, 2}, 0))) << "across a head group's border";
}

TEST(VerifySegment, NeedsNoTilesForTheIndexOnly) {
  const TestObject object = MakeObject(SmallObject());
  const ConstBytes segment = SegmentOf(object, Level::kFine);
  const std::size_t index_bytes = DecodeIndex(segment, TagOf(object.header))->IndexBytes();
  const ConstBytes index = segment.first(index_bytes);
  EXPECT_TRUE(VerifySegment(object.header, Level::kFine, segment, false).ok());
  EXPECT_TRUE(VerifySegment(object.header, Level::kFine, index, true).ok());
  EXPECT_EQ(VerifySegment(object.header, Level::kFine, index, false).code(), Code::kDataLoss);
}

TEST(VerifySegment, RefusesAnIndexThatTheHeaderSaysIsOfAnotherSize) {
  const TestObject object = MakeObject(SmallObject());
  ObjectHeader other = object.header;
  other.level_bytes[static_cast<std::size_t>(Level::kFine)] += 1;
  const ConstBytes segment = SegmentOf(object, Level::kFine);
  EXPECT_EQ(VerifySegment(other, Level::kFine, segment, true).code(), Code::kDataLoss);
}

TEST(VerifySegment, RefusesASegmentInAnotherLevelsPlace) {
  const TestObject object = MakeObject(SmallObject());
  const ConstBytes segment = SegmentOf(object, Level::kFine);
  EXPECT_EQ(VerifySegment(object.header, Level::kDraft, segment, false).code(), Code::kDataLoss);
}

TEST(VerifySegment, RefusesASegmentOfAnotherPut) {
  const TestObject object = MakeObject(SmallObject());
  ObjectHeader other = object.header;
  other.put_id.bytes[15] ^= std::byte{1};
  const ConstBytes segment = SegmentOf(object, Level::kFine);
  EXPECT_EQ(VerifySegment(other, Level::kFine, segment, false).code(), Code::kDataLoss);
}

TEST(LayoutOf, PlacesSegmentsOneAfterTheOther) {
  const TestObject object = MakeObject(SmallObject());
  const Result<ObjectLayout> layout = LayoutOf(ConstBytes(object.bytes).first(kObjectHeaderBytes));
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->header, object.header);
  EXPECT_EQ(layout->size_bytes, object.bytes.size());
  EXPECT_EQ(layout->offset[0], kObjectHeaderBytes);
  EXPECT_EQ(layout->offset[3] + object.header.level_bytes[3], object.bytes.size());
}

TEST(LayoutOf, LeavesAbsentLevelsAtZero) {
  const Result<ObjectLayout> layout = LayoutOf(MakeObject().bytes);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->offset, (std::array<std::uint64_t, 4>{0, 0, 0, kObjectHeaderBytes}));
}

}  // namespace
}  // namespace kdn
