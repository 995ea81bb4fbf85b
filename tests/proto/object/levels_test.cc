#include "proto/object/levels.h"

#include <gtest/gtest.h>

namespace kdn {
namespace {

TEST(Levels, NamesAndNumbersAreFormat) {
  ASSERT_EQ(Levels().size(), kLevelCount);
  EXPECT_EQ(static_cast<int>(*FindLevel("draft")), 0);
  EXPECT_EQ(static_cast<int>(*FindLevel("standard")), 1);
  EXPECT_EQ(static_cast<int>(*FindLevel("fine")), 2);
  EXPECT_EQ(static_cast<int>(*FindLevel("exact")), 3);
}

TEST(Levels, AreListedCoarsestFirstAndOnlyTheLastIsLossless) {
  for (std::size_t i = 0; i < kLevelCount; ++i) {
    EXPECT_EQ(static_cast<std::size_t>(Levels()[i].level), i);
    EXPECT_EQ(Levels()[i].lossless, Levels()[i].level == Level::kExact);
    EXPECT_EQ(*FindLevel(LevelName(Levels()[i].level)), Levels()[i].level);
  }
}

TEST(Levels, UnknownNameIsNotFound) {
  EXPECT_EQ(FindLevel("lossy").error().code(), Code::kNotFound);
  EXPECT_EQ(LevelName(static_cast<Level>(9)), "unknown");
}

TEST(LevelSet, AddsRemovesAndTests) {
  LevelSet set = Level::kDraft;
  set.Add(Level::kExact);
  EXPECT_TRUE(set.Has(Level::kExact));
  EXPECT_FALSE(set.Has(Level::kFine));
  EXPECT_EQ(set.bits(), 0b1001);
  set.Remove(Level::kDraft);
  EXPECT_EQ(set, LevelSet(Level::kExact));
  EXPECT_TRUE((set & LevelSet(Level::kDraft)).empty());
  EXPECT_EQ(kAllLevels - set, LevelSet(std::uint8_t{0b0111}));
  EXPECT_TRUE((set - kAllLevels).empty());
}

TEST(LevelBytes, TellsWhichLevelsHaveBytesAndHowMany) {
  constexpr LevelBytes kBytes{10, 0, 0, 4000000000};
  constexpr LevelBytes kLarge{4000000000, 4000000000, 0, 0};
  EXPECT_EQ(LevelsWithBytes(kBytes), LevelSet(std::uint8_t{0b1001}));
  EXPECT_TRUE(LevelsWithBytes(LevelBytes{}).empty());
  EXPECT_EQ(SumOfLevels(kBytes, Level::kDraft), 10U);
  EXPECT_EQ(SumOfLevels(kBytes, {}), 0U);
  EXPECT_EQ(SumOfLevels(kLarge, kAllLevels), 8000000000U);
}

TEST(LevelSet, BitsThatNameNoLevelAreInvalid) {
  EXPECT_TRUE(kAllLevels.Valid());
  EXPECT_FALSE(LevelSet(std::uint8_t{0x10}).Valid());
}

}  // namespace
}  // namespace kdn
