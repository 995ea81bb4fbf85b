// Goal: no bytes make a launch go wrong: the planner or a unit's verdict refuses what the CPU's
// decoder refuses, a refused unit writes nothing, and bytes that change after they were checked do
// no harm outside of the values they are of.
// Method: tiles cut at every length and changed in one byte, held against ObjectCodec::DecodeTile;
// launch copies of other bytes than were checked. Memory checkers see every step outside.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/codec/lane_refusals.h"

namespace kdn::codec {
namespace {

class LaneRefusal : public testing::Test {
 protected:
  void Use(const LaneCase& c) {
    case_ = c;
    object_ = EncodeCase(c);
    opened_ = OpenPlaces(object_);
  }

  LaneRefusals refusals_{
      [](ChangeCopy change) { return std::make_unique<HostMachine>(std::move(change)); }};
  LaneCase case_;
  std::vector<std::byte> object_;
  OpenedPlaces opened_;
};

TEST_F(LaneRefusal, TilesCutAtEveryLength) {
  EXPECT_EQ(refusals_.TilesCutAtEveryLength(), "");
}

TEST_F(LaneRefusal, TilesChangedInOneByte) {
  EXPECT_EQ(refusals_.TilesChangedInOneByte(), "");
}

TEST_F(LaneRefusal, BytesThatChangeAfterTheyWereChecked) {
  EXPECT_EQ(refusals_.BytesThatChangeAfterTheyWereChecked(), "");
}

TEST_F(LaneRefusal, RefusedUnitsWriteNothing) {
  EXPECT_EQ(refusals_.RefusedUnitsWriteNothing(), "");
}

TEST_F(LaneRefusal, ExactOnTopOfWhatDoesNotDecodeWritesNothing) {
  EXPECT_EQ(refusals_.ExactOnTopOfWhatDoesNotDecodeWritesNothing(), "");
}

TEST_F(LaneRefusal, WhatCannotBePlannedIsRefusedWithAReason) {
  const auto code = [&](const LaneCase& c, std::size_t levels) {
    LaneTarget target(c);
    HostMachine machine;
    return LaunchCase(c, opened_, levels, target, machine).planned.code();
  };
  Use({.spec = RefusalSpec(), .tokens = 20, .levels = kRefusalLevels, .decoded_levels = 4});
  ASSERT_EQ(opened_.places[0][3].entry.scheme, TileScheme::kResidual);
  EXPECT_EQ(code(case_, 4), Code::kOk);
  EXPECT_EQ(code(case_, 0), Code::kInvalidArgument);
  const Profile profile = RandomProfile(case_.spec, 1);
  LaneCase other = case_;
  other.profile = &profile;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  // Of two profiles of one model an object wants the one that it names.
  Use({.spec = RefusalSpec(), .tokens = 20, .levels = kRefusalLevels, .profile = &profile});
  EXPECT_EQ(code(case_, 1), Code::kOk);
  const Profile foreign = RandomProfile(case_.spec, 2);
  other = case_;
  other.profile = &foreign;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  Use({.spec = RefusalSpec(), .tokens = 20, .levels = kRefusalLevels, .decoded_levels = 4});
  other = case_;
  other.moved = -1001;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  other.wanted = 21;
  other.moved = 0;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  opened_.header.flags |= kFlagCodedRotated;
  other = case_;
  other.moved = 1;
  EXPECT_EQ(code(other, 1), Code::kUnimplemented);
}

}  // namespace
}  // namespace kdn::codec
