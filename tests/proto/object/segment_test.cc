// Goal: an index or a tile is taken only where, and as, it was written.
#include "proto/object/segment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "tests/proto/object/repair.h"

namespace kdn {
namespace {

ObjectTag SomeTag() {
  SeededRandom random(3);
  return RandomId<ObjectTag>(random);
}

TileEntry Tile(Range layers, Range kv_heads, Plane plane, std::uint32_t offset,
               std::uint32_t size_bytes) {
  TileEntry entry;
  entry.at = {.level = Level::kFine, .plane = plane, .layers = layers, .kv_heads = kv_heads};
  entry.offset = offset;
  entry.size_bytes = size_bytes;
  entry.checksum.bytes[0] = static_cast<std::byte>(offset);
  return entry;
}

// Two layer groups, two head groups, two planes.
SegmentIndex SmallIndex() {
  SegmentIndex index{.level = Level::kFine, .tiles = {}};
  for (const Range layers : {Range{0, 2}, Range{2, 1}}) {
    for (const Range kv_heads : {Range{4, 2}, Range{6, 2}}) {
      for (const Plane plane : {Plane::kK, Plane::kV}) {
        const auto offset = static_cast<std::uint32_t>(index.TileBytes());
        index.tiles.push_back(Tile(layers, kv_heads, plane, offset, offset % 7 + 100));
      }
    }
  }
  index.tiles.back().scheme = TileScheme::kBytePlanes;
  return index;
}

TEST(Index, SurvivesTheRoundTripWithOrWithoutTilesBehindIt) {
  const SegmentIndex index = SmallIndex();
  std::vector<std::byte> bytes = EncodeIndex(index, SomeTag());
  EXPECT_EQ(bytes.size(), index.IndexBytes());
  for (const std::size_t more : {std::size_t{0}, index.TileBytes()}) {
    bytes.resize(index.IndexBytes() + more);
    const Result<SegmentIndex> decoded = DecodeIndex(bytes, SomeTag());
    ASSERT_TRUE(decoded) << decoded.error().ToString();
    EXPECT_EQ(decoded->level, index.level);
    EXPECT_EQ(decoded->tiles, index.tiles);
  }
}

TEST(Index, EverySingleBitFlipIsCaught) {
  std::vector<std::byte> bytes = EncodeIndex(SmallIndex(), SomeTag());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1U << (bit % 8))};
    bytes[bit / 8] ^= mask;
    ASSERT_FALSE(DecodeIndex(bytes, SomeTag())) << "byte " << bit / 8 << " bit " << bit % 8;
    bytes[bit / 8] ^= mask;
  }
}

TEST(Index, EveryCutIsCaught) {
  const std::vector<std::byte> bytes = EncodeIndex(SmallIndex(), SomeTag());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(DecodeIndex(ConstBytes(bytes).first(size), SomeTag()).error().code(),
              Code::kDataLoss);
  }
}

TEST(Index, OfAnotherPutIsCaught) {
  ObjectTag other = SomeTag();
  other.bytes[0] ^= std::byte{1};
  EXPECT_FALSE(DecodeIndex(EncodeIndex(SmallIndex(), SomeTag()), other));
}

TEST(Index, EmptyOneIsRefused) {
  EXPECT_FALSE(
      DecodeIndex(EncodeIndex({.level = Level::kFine, .tiles = {}}, SomeTag()), SomeTag()));
}

struct BadIndex {
  const char* name;
  std::function<void(std::vector<TileEntry>&)> spoil;
};

class IndexWithABadTile : public testing::TestWithParam<BadIndex> {};

TEST_P(IndexWithABadTile, IsDataLossThoughItsChecksumHolds) {
  SegmentIndex index = SmallIndex();
  GetParam().spoil(index.tiles);
  const Result<SegmentIndex> decoded = DecodeIndex(EncodeIndex(index, SomeTag()), SomeTag());
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), Code::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    All, IndexWithABadTile,
    testing::Values(
        BadIndex{"GapBeforeTheFirst", [](auto& tiles) { tiles[0].offset = 1; }},
        BadIndex{"GapInside", [](auto& tiles) { tiles[3].offset += 1; }},
        BadIndex{"OverlappingOffsets", [](auto& tiles) { tiles[3].offset -= 1; }},
        BadIndex{"PlanesOutOfOrder", [](auto& tiles) { std::swap(tiles[0].at, tiles[1].at); }},
        BadIndex{"HeadsOutOfOrder", [](auto& tiles) { std::swap(tiles[0].at, tiles[2].at); }},
        BadIndex{"LayersOutOfOrder", [](auto& tiles) { std::swap(tiles[0].at, tiles[4].at); }},
        BadIndex{"SameTileTwice", [](auto& tiles) { tiles[1].at = tiles[0].at; }},
        BadIndex{"OverlappingLayers",
                 [](auto& tiles) {
                   for (std::size_t i = 0; i < 4; ++i) tiles[i].at.layers.count = 3;
                 }},
        BadIndex{"OverlappingHeads",
                 [](auto& tiles) { tiles[0].at.kv_heads.count = tiles[1].at.kv_heads.count = 3; }},
        BadIndex{"OtherLevel", [](auto& tiles) { tiles[1].at.level = Level::kDraft; }},
        BadIndex{"UnknownPlane", [](auto& tiles) { tiles[7].at.plane = static_cast<Plane>(5); }},
        BadIndex{"UnknownScheme",
                 [](auto& tiles) { tiles[0].scheme = static_cast<TileScheme>(3); }},
        BadIndex{"NoLayers", [](auto& tiles) { tiles[0].at.layers.count = 0; }},
        BadIndex{"TooManyLayers", [](auto& tiles) { tiles[7].at.layers = {1024, 1}; }},
        BadIndex{"NoHeads", [](auto& tiles) { tiles[0].at.kv_heads.count = 0; }},
        BadIndex{"EmptyTile",
                 [](auto& tiles) {
                   tiles.resize(1);
                   tiles[0].size_bytes = 0;
                 }},
        BadIndex{"TileTooLarge",
                 [](auto& tiles) {
                   tiles.resize(1);
                   tiles[0].size_bytes = limits::kTileBytesMax + 1;
                 }},
        BadIndex{"SegmentTooLarge",
                 [](auto& tiles) {
                   for (std::size_t i = 0; i < tiles.size(); ++i) {
                     tiles[i].size_bytes = limits::kTileBytesMax;
                     tiles[i].offset = static_cast<std::uint32_t>(i * limits::kTileBytesMax);
                   }
                 }}),
    [](const auto& bad) { return std::string(bad.param.name); });

TEST(Index, DeclaredBytesThatItsTilesDoNotHaveAreRefused) {
  std::vector<std::byte> bytes = EncodeIndex(SmallIndex(), SomeTag());
  bytes[16] ^= std::byte{1};
  test::RepairIndex(bytes, SomeTag());
  const Result<SegmentIndex> decoded = DecodeIndex(bytes, SomeTag());
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message(), "index contradicts itself");
}

TEST(Index, DeclaredCountBeyondTheInputIsRefusedBeforeAnyAllocation) {
  std::vector<std::byte> bytes = EncodeIndex(SmallIndex(), SomeTag());
  for (std::size_t i = 8; i < 12; ++i) bytes[i] = std::byte{0xFF};
  EXPECT_FALSE(DecodeIndex(bytes, SomeTag()));
  bytes[10] = bytes[11] = std::byte{0};
  bytes[9] = std::byte{0x3F};  // Within the limit, but far more than is there.
  EXPECT_FALSE(DecodeIndex(bytes, SomeTag()));
}

class TileTest : public testing::Test {
 protected:
  TileTest() : bytes_(200) {
    SeededRandom(4).Fill(bytes_);
    entry_ = Tile({2, 3}, {4, 2}, Plane::kV, 0, static_cast<std::uint32_t>(bytes_.size()));
    entry_.checksum = TileChecksum(SomeTag(), entry_.at, entry_.scheme, bytes_);
  }
  std::vector<std::byte> bytes_;
  TileEntry entry_;
};

TEST_F(TileTest, VerifiesAsItWasMade) {
  EXPECT_TRUE(VerifyTile(SomeTag(), entry_, bytes_));
}

TEST_F(TileTest, EverySingleBitFlipOfItsBytesIsCaught) {
  for (std::size_t bit = 0; bit < 8 * bytes_.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1U << (bit % 8))};
    bytes_[bit / 8] ^= mask;
    ASSERT_FALSE(VerifyTile(SomeTag(), entry_, bytes_)) << bit;
    bytes_[bit / 8] ^= mask;
  }
}

TEST(ObjectTag, DiffersForAnotherPutAnotherChunkAndAnotherPart) {
  // A put id is shared by all chunks of a put: it alone would let them pass for one another.
  SeededRandom random(5);
  ObjectHeader header;
  header.put_id = RandomId<PutId>(random);
  header.key = RandomId<ChunkKey>(random);
  ObjectHeader other_put = header;
  other_put.put_id.bytes[15] ^= std::byte{1};
  ObjectHeader other_chunk = header;
  other_chunk.key.bytes[31] ^= std::byte{1};
  ObjectHeader other_part = header;
  other_part.part.number = 256;
  for (const ObjectHeader& other : {other_put, other_chunk, other_part}) {
    EXPECT_NE(TagOf(header), TagOf(other));
  }
}

TEST_F(TileTest, EveryBitFlipOfTheTagIsCaught) {
  for (std::size_t bit = 0; bit < 8 * ObjectTag::kSize; ++bit) {
    ObjectTag other = SomeTag();
    other.bytes[bit / 8] ^= std::byte{static_cast<unsigned char>(1U << (bit % 8))};
    ASSERT_FALSE(VerifyTile(other, entry_, bytes_)) << bit;
  }
}

TEST_F(TileTest, InAnotherPlaceIsCaught) {
  const std::vector<std::function<void(TileEntry&)>> moves = {
      [](TileEntry& e) { e.at.level = Level::kExact; },
      [](TileEntry& e) { e.at.plane = Plane::kK; },
      [](TileEntry& e) { e.at.layers.first += 1; },
      [](TileEntry& e) { e.at.layers.count += 1; },
      [](TileEntry& e) { e.at.kv_heads.first += 1; },
      [](TileEntry& e) { e.at.kv_heads.count += 1; },
      [](TileEntry& e) { e.scheme = TileScheme::kBytePlanes; },
      [](TileEntry& e) { e.size_bytes += 1; },
      [](TileEntry& e) { std::swap(e.at.layers, e.at.kv_heads); },
  };
  for (std::size_t i = 0; i < moves.size(); ++i) {
    TileEntry moved = entry_;
    moves[i](moved);
    EXPECT_FALSE(VerifyTile(SomeTag(), moved, bytes_)) << i;
  }
}

TEST_F(TileTest, OfAnotherSizeIsCaught) {
  EXPECT_FALSE(VerifyTile(SomeTag(), entry_, ConstBytes(bytes_).first(199)));
}

TEST_F(TileTest, EntryTakesFortyBytesAndSurvivesThem) {
  std::vector<std::byte> encoded;
  ByteWriter out(encoded);
  EncodeTileEntry(entry_, out);
  EXPECT_EQ(encoded.size(), kTileEntryBytes);
  ByteReader in(encoded);
  EXPECT_EQ(DecodeTileEntry(in), entry_);
  EXPECT_TRUE(in.AtEnd());
}

}  // namespace
}  // namespace kdn
