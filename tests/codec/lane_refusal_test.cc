// Goal: no bytes make a launch go wrong: the planner or a unit's verdict refuses what the CPU's
// decoder refuses, a refused unit writes nothing, and bytes that change after they were checked do
// no harm outside of the values they are of.
// Method: tiles cut at every length and changed in one byte, held against ObjectCodec::DecodeTile;
// launch copies of other bytes than were checked. Memory checkers see every step outside.
#include <gtest/gtest.h>

#include <random>

#include "tests/codec/lane_objects.h"
#include "tests/codec/lane_profiles.h"

namespace kdn::codec {
namespace {

constexpr LevelSet kAll(0b1111);

ModelSpec SmallSpec(DType dtype = DType::kBf16) {
  ModelSpec spec;
  spec.name = "small";
  spec.dtype = dtype;
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 16};
  spec.groups.push_back({.layers = {0}, .kv_heads = 1, .k_head_size = 16, .v_head_size = 32});
  return spec;
}

class LaneRefusal : public testing::Test {
 protected:
  void Use(const LaneCase& c) {
    case_ = c;
    object_ = EncodeCase(c);
    opened_ = OpenPlaces(object_);
  }
  // With tile `level` of place `place` replaced.
  OpenedPlaces With(std::size_t place, std::size_t level, ConstBytes bytes) {
    OpenedPlaces changed = opened_;
    changed.places[place][level].bytes = bytes;
    return changed;
  }
  // Both decoders judge the same, and what they accept they decode to the same bits.
  void ExpectSameJudgement(const OpenedPlaces& opened) {
    LaneTarget want(case_);
    LaneTarget got(case_);
    const Status status = DecodeOnCpu(case_, opened, case_.decoded_levels, want);
    HostMachine machine;
    const LaneOutcome outcome = LaunchCase(case_, opened, case_.decoded_levels, got, machine);
    EXPECT_EQ(outcome.good(), status.ok());
    if (status.ok()) {
      EXPECT_TRUE(got.memory.Snapshot() == want.memory.Snapshot());
    }
    refused_ += status.ok() ? 0 : 1;
    accepted_ += status.ok() ? 1 : 0;
  }

  LaneCase case_;
  std::vector<std::byte> object_;
  OpenedPlaces opened_;
  int refused_ = 0;
  int accepted_ = 0;
};

TEST_F(LaneRefusal, TilesCutAtEveryLength) {
  for (const LevelSet levels : {LevelSet(Level::kExact), kAll}) {
    Use({.spec = SmallSpec(),
         .tokens = 20,
         .levels = levels,
         .decoded_levels = levels == kAll ? 4U : 1U});
    for (const std::size_t l : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
      if (l >= case_.decoded_levels) continue;
      const ConstBytes whole = opened_.places[1][l].bytes;
      for (std::size_t size = 0; size < whole.size(); ++size) {
        AlignedBytes cut(whole.first(size));
        ExpectSameJudgement(With(1, l, cut.bytes()));
      }
    }
  }
  EXPECT_EQ(accepted_, 0);
}

TEST_F(LaneRefusal, TilesChangedInOneByte) {
  std::mt19937_64 random(3);
  const Profile profile = RandomProfile(SmallSpec(), 1, true);
  for (int kind = 0; kind < 4; ++kind) {
    LaneCase c{.spec = SmallSpec(), .tokens = 20, .moved = 2};
    if (kind > 0) c.levels = LevelSet(0b111);
    if (kind > 0) c.decoded_levels = 3;
    if (kind == 2) c.profile = &profile;
    if (kind == 3) c.levels = kAll;
    if (kind == 3) c.decoded_levels = 4;
    Use(c);
    for (std::size_t l = kind == 3 ? 3 : 0; l < c.decoded_levels; ++l) {
      const ConstBytes whole = opened_.places[1][l].bytes;
      for (std::size_t at = 0; at < whole.size(); ++at) {
        AlignedBytes changed(whole);
        changed.data()[at] ^= static_cast<std::byte>(1 + random() % 255);
        ExpectSameJudgement(With(1, l, changed.bytes()));
      }
    }
  }
  EXPECT_GT(accepted_, 100);  // raw planes and means may be anything
  EXPECT_GT(refused_, 100);
}

TEST_F(LaneRefusal, BytesThatChangeAfterTheyWereChecked) {
  std::mt19937_64 random(4);
  for (const LevelSet levels : {LevelSet(Level::kExact), LevelSet(0b111), kAll}) {
    for (const DType dtype : kAllDTypes) {
      Use({.spec = SmallSpec(dtype),
           .tokens = 100,
           .levels = levels,
           .decoded_levels = levels == kAll              ? 4U
                             : levels.Has(Level::kDraft) ? 3U
                                                         : 1U});
      LaneTarget got(case_);
      HostMachine machine([&](AlignedBytes& copy) {
        for (std::size_t i = 0; i < copy.bytes().size(); ++i) {
          copy.data()[i] = static_cast<std::byte>(random());
        }
      });
      (void)LaunchCase(case_, opened_, case_.decoded_levels, got, machine);
      // All that may have been written is what a good decoding writes.
      LaneTarget want(case_);
      ASSERT_TRUE(DecodeOnCpu(case_, opened_, case_.decoded_levels, want).ok());
      ASSERT_TRUE(DecodeOnCpu(case_, opened_, case_.decoded_levels, got).ok());
      EXPECT_TRUE(got.memory.Snapshot() == want.memory.Snapshot());
    }
  }
}

TEST_F(LaneRefusal, RefusedUnitsWriteNothing) {
  Use({.spec = SmallSpec(), .tokens = 20, .levels = kAll, .decoded_levels = 1});
  LaneTarget got(case_);
  const auto before = got.memory.Snapshot();
  HostMachine machine([](AlignedBytes& copy) {
    // The last words' padding aside, the end of a draft tile is words.
    std::fill(copy.data() + copy.bytes().size() / 2, copy.data() + copy.bytes().size(),
              std::byte{0x77});
  });
  const LaneOutcome outcome = LaunchCase(case_, opened_, 1, got, machine);
  ASSERT_TRUE(outcome.planned.ok());
  EXPECT_EQ(outcome.verdicts, (std::vector<std::uint32_t>{1, 1}));
  EXPECT_TRUE(got.memory.Snapshot() == before);
}

TEST_F(LaneRefusal, ExactOnTopOfWhatDoesNotDecodeWritesNothing) {
  for (std::size_t level = 0; level < 4; ++level) {
    Use({.spec = SmallSpec(), .tokens = 300, .levels = kAll, .decoded_levels = 4});
    LaneTarget got(case_);
    const auto before = got.memory.Snapshot();
    std::size_t tile = 0;
    HostMachine machine([&](AlignedBytes& copy) {
      // Of each place, one of four tiles ends in other words: raw planes but for draft and exact.
      if (tile++ % 4 != level) return;
      std::fill(copy.data() + copy.bytes().size() / 2, copy.data() + copy.bytes().size(),
                std::byte{0x77});
    });
    const LaneOutcome outcome = LaunchCase(case_, opened_, 4, got, machine);
    ASSERT_TRUE(outcome.planned.ok());
    EXPECT_FALSE(outcome.good()) << level;
    if (level == 0) {
      EXPECT_TRUE(got.memory.Snapshot() == before);
    }
  }
}

TEST_F(LaneRefusal, WhatCannotBePlannedIsRefusedWithAReason) {
  const auto code = [&](const LaneCase& c, std::size_t levels) {
    LaneTarget target(c);
    HostMachine machine;
    return LaunchCase(c, opened_, levels, target, machine).planned.code();
  };
  Use({.spec = SmallSpec(), .tokens = 20, .levels = kAll, .decoded_levels = 4});
  ASSERT_EQ(opened_.places[0][3].entry.scheme, TileScheme::kResidual);
  EXPECT_EQ(code(case_, 4), Code::kOk);
  EXPECT_EQ(code(case_, 0), Code::kInvalidArgument);
  const Profile profile = RandomProfile(case_.spec, 1);
  LaneCase other = case_;
  other.profile = &profile;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  // Of two profiles of one model an object wants the one that it names.
  Use({.spec = SmallSpec(), .tokens = 20, .levels = kAll, .profile = &profile});
  EXPECT_EQ(code(case_, 1), Code::kOk);
  const Profile foreign = RandomProfile(case_.spec, 2);
  other = case_;
  other.profile = &foreign;
  EXPECT_EQ(code(other, 1), Code::kInvalidArgument);
  Use({.spec = SmallSpec(), .tokens = 20, .levels = kAll, .decoded_levels = 4});
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
