// Goal: tiles that are summed as they come have the sums that they would have afterwards, wherever
// the bytes are cut; and of a front that makes no sense, or bytes that come in another order,
// nothing is summed and nothing outside the window is read. Method: the answer of a read, made of
// an object's own bytes, told of in steps.
#include "client/core/tile_sums.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proto/object/checksum.h"
#include "tests/support/test_object.h"

namespace kdn::client {
namespace {

class TileSumsTest : public testing::Test {
 protected:
  TileSumsTest() {
    ByteWriter writer(window_);
    const ConstBytes segment = test::SegmentOf(object_, Level::kExact);
    index_ = DecodeIndex(segment, TagOf(object_.header)).value();
    writer.Bytes(ConstBytes(object_.bytes).first(kObjectHeaderBytes));
    for (const TileEntry& entry : index_.tiles) EncodeTileEntry(entry, writer);
    front_bytes_ = window_.size();
    writer.Bytes(segment.subspan(index_.IndexBytes()));
  }
  [[nodiscard]] TileSums Sums() const {
    return {window_, [this](const ObjectHeader& header) {
              return header == object_.header ? index_.tiles.size() : 0;
            }};
  }
  [[nodiscard]] Checksum Expected(std::size_t tile) const {
    const TileEntry& entry = index_.tiles[tile];
    return ChecksumOf(ConstBytes(window_).subspan(front_bytes_ + entry.offset, entry.size_bytes));
  }
  // How many tiles have a sum; each must be the right one.
  [[nodiscard]] std::size_t Summed(const TileSums& sums) const {
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < index_.tiles.size(); ++i) {
      const auto sum = sums.SumOf(i);
      if (!sum) continue;
      EXPECT_EQ(*sum, Expected(i)) << i;
      ++count;
    }
    EXPECT_EQ(sums.SumOf(static_cast<std::uint32_t>(index_.tiles.size())), std::nullopt);
    return count;
  }

  const test::TestObject object_ = test::MakeObject({.size_bytes = 100'000});
  std::vector<std::byte> window_;
  SegmentIndex index_;
  std::size_t front_bytes_ = 0;
};

TEST_F(TileSumsTest, SumsAreThoseOfTheTilesWhereverBytesAreCut) {
  for (const std::size_t step : {1U, 383U, 5'000U, 99'999U, 200'000U}) {
    TileSums sums = Sums();
    for (std::size_t at = 0; at < window_.size(); at += step) {
      sums.OnArrived(at, std::min(step, window_.size() - at));
    }
    EXPECT_EQ(Summed(sums), index_.tiles.size()) << step;
  }
}

TEST_F(TileSumsTest, TileHasASumOnceItsLastByteIsThere) {
  TileSums sums = Sums();
  const std::size_t end = front_bytes_ + index_.tiles[1].offset;
  sums.OnArrived(0, end - 1);
  EXPECT_EQ(Summed(sums), 0U);
  sums.OnArrived(end - 1, 1);
  EXPECT_EQ(Summed(sums), 1U);
}

TEST_F(TileSumsTest, BytesOutOfOrderOrBeyondTheWindowEndIt) {
  TileSums gap = Sums();
  gap.OnArrived(0, front_bytes_);
  gap.OnArrived(front_bytes_ + 1, window_.size() - front_bytes_ - 1);
  EXPECT_EQ(Summed(gap), 0U);
  TileSums again = Sums();
  again.OnArrived(0, window_.size() - 1);
  const std::size_t before = Summed(again);
  EXPECT_EQ(before, index_.tiles.size() - 1);
  again.OnArrived(0, window_.size());
  EXPECT_EQ(Summed(again), before);
  TileSums beyond = Sums();
  beyond.OnArrived(0, window_.size() + 1);
  EXPECT_EQ(Summed(beyond), 0U);
}

TEST_F(TileSumsTest, FrontThatMakesNoSenseIsNotSummed) {
  for (std::size_t at = 0; at < front_bytes_; at += 7) {
    window_[at] ^= std::byte{0x81};
    TileSums sums = Sums();
    sums.OnArrived(0, window_.size());
    for (std::uint32_t i = 0; i < index_.tiles.size(); ++i) {
      // A size in an entry may still make sense: then it is the sum of other bytes.
      EXPECT_TRUE(at >= kObjectHeaderBytes || !sums.SumOf(i)) << at;
    }
    window_[at] ^= std::byte{0x81};
  }
}

}  // namespace
}  // namespace kdn::client
