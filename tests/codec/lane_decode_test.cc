// Goal: a launch decodes to the very bits that the CPU's decoder gives, for every type, level,
// layout and position, with a profile and without. Method: the lanes' code in lockstep on the host
// (LaunchOnHost), which a GPU runs as it is, into poisoned memory, held against
// ObjectCodec::DecodeTile with the scalar kernels, byte for byte.
#include <gtest/gtest.h>

#include "codec/lane/token_windows.h"
#include "tests/codec/lane_cases.h"
#include "tests/codec/recorded_kv.h"

namespace kdn::codec {
namespace {

void ExpectEqualToCpu(const std::string& name, const LaneCase& c) {
  HostMachine machine;
  EXPECT_EQ(CompareWithCpu(c, machine), "") << name;
  // What reads what a neighbour writes in the same step comes out differently then.
  HostMachine backwards;
  backwards.backwards = true;
  EXPECT_EQ(CompareWithCpu(c, backwards), "") << name << ", backwards";
}

TEST(LaneDecode, ExactAloneOfEveryTypeAndPattern) {
  ExactCases(ExpectEqualToCpu);
}
TEST(LaneDecode, LossyLevelsOfEveryTypeAndRotation) {
  LossyCases(ExpectEqualToCpu);
}
TEST(LaneDecode, EveryLayoutOfMemory) {
  LayoutCases(ExpectEqualToCpu);
}
TEST(LaneDecode, ExactValuesMovedOnce) {
  MovedCases(ExpectEqualToCpu);
}
TEST(LaneDecode, HeadSizesAndLengths) {
  SizeCases(ExpectEqualToCpu);
}
TEST(LaneDecode, LatentAndStateGroups) {
  GroupCases(ExpectEqualToCpu);
}
TEST(LaneDecode, ProfilesOfEveryShape) {
  ProfileCases(ExpectEqualToCpu);
}

TEST(LaneDecode, ExactOnTopOfFine) {
  OnTopCases(ExpectEqualToCpu);
}

TEST(LaneDecode, RawExactOnTopOfFine) {
  // As large as its values: fp8 bits at random.
  LaneCase c{.spec = LaneSpec(DType::kFp8E4M3, 32, 32),
             .tokens = 17,
             .levels = kFourLevels,
             .decoded_levels = 4,
             .pattern = Pattern::kRandomBits};
  const std::vector<std::byte> object = EncodeCase(c);
  ASSERT_EQ(OpenPlaces(object).places[0][3].entry.scheme, TileScheme::kRaw);
  ExpectEqualToCpu("raw exact", c);
}

TEST(LaneDecode, RecordedKvOfTheModel) {
  const RecordedKv kv = RecordedKv::Read().value();
  constexpr std::uint32_t kTokens = 256;
  LaneCase c{.spec = kv.spec(), .tokens = kTokens, .moved = 77};
  c.shapes[0].block_count = 20;
  ObjectHeader header = kv.HeaderFor(kTokens, 2, 2);
  header.levels_encoded = kFourLevels;
  header.first_position = kTokens;
  const std::vector<std::byte> object = kv.EncodeChunk(header, kTokens);
  const OpenedPlaces opened = OpenPlaces(object);
  for (std::size_t levels = 1; levels <= 4; ++levels) {
    LaneTarget want(c);
    LaneTarget got(c);
    HostMachine machine;
    ASSERT_TRUE(DecodeOnCpu(c, opened, levels, want).ok());
    EXPECT_TRUE(LaunchCase(c, opened, levels, got, machine).good());
    EXPECT_TRUE(got.memory.Snapshot() == want.memory.Snapshot()) << levels << " levels";
  }
}

TEST(LaneDecode, WindowsEndAtBordersOfBlocks) {
  // 64 tokens a block of 8,192 symbols; four of them are 32 KiB.
  EXPECT_EQ(WindowEnds(1024, 1024, {128}, 128), (std::vector<std::uint32_t>{256, 512, 768, 1024}));
  EXPECT_EQ(WindowEnds(1024, 300, {128}, 128), (std::vector<std::uint32_t>{256, 300}));
  EXPECT_EQ(WindowEnds(256, 256, {}, 0), (std::vector<std::uint32_t>{256}));
  // Of 96 channels a block has 85 1/3 tokens: every third border is one of tokens.
  EXPECT_EQ(WindowEnds(1024, 1024, {96}, 96), (std::vector<std::uint32_t>{256, 512, 768, 1024}));
  // Classes of 16 have blocks of 512 tokens: none ends within the first 256.
  EXPECT_EQ(WindowEnds(1024, 1024, {16, 112}, 128),
            (std::vector<std::uint32_t>{256, 512, 768, 1024}));
}

}  // namespace
}  // namespace kdn::codec
