// Goal: a launch encodes to the very objects that the CPU's encoder makes, for every type, level,
// layout and size, with a profile and without. Method: the lanes' code in lockstep on the host
// (EncodeOnHost), which a GPU runs as it is, out of the same memory as ObjectCodec::Encode with the
// scalar kernels; whole objects are compared, byte for byte. And once with all lanes, warps and
// units in the opposite order: what reads what a neighbour writes in the same step comes out
// differently then.
#include <gtest/gtest.h>

#include <memory>

#include "tests/codec/lane_cases.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {
namespace {

void ExpectEqualToCpu(const std::string& name, const LaneCase& c) {
  HostMachine forwards;
  EXPECT_EQ(CompareEncodedWithCpu(c, forwards), "") << name << ", " << c.tokens << " tokens";
  // Half of them: the test takes long enough.
  static bool again = false;
  again = !again;
  if (!again) return;
  HostMachine backwards;
  backwards.backwards = true;
  EXPECT_EQ(CompareEncodedWithCpu(c, backwards), "") << name << ", backwards";
}

TEST(LaneEncode, EveryTypeLevelLayoutAndSize) {
  EncodeCases(ExpectEqualToCpu);
}
TEST(LaneEncode, ProfilesOfEveryShape) {
  EncodeProfileCases(ExpectEqualToCpu);
}

TEST(LaneEncode, ManyObjectsInOneLaunch) {
  const ModelSpec spec = LaneSpec(DType::kBf16, 64, 32);
  EncodePlanner many = EncodePlanner::Make(spec).value();
  const Profile profile = RandomProfile(spec, 5);
  const EncodeImage image(spec, profile);
  HostMachine machine;
  const EncodeProfile with{image, machine.Keep(image.bytes())};
  std::vector<std::unique_ptr<LaneSource>> sources;
  std::vector<std::vector<std::byte>> want;
  for (std::uint32_t i = 0; i < 5; ++i) {
    LaneCase c{.spec = spec,
               .tokens = 1 + 20 * i,
               .levels = LevelSet(static_cast<std::uint8_t>((1U << (1 + i % 3)) - 1)),
               .profile = i % 2 == 0 ? nullptr : &profile,
               .seed = i};
    c.shapes[0].block_count = 8;
    sources.push_back(std::make_unique<LaneSource>(c));
    want.push_back(EncodeCase(c, *sources.back()));
    ASSERT_TRUE(many.Add(HeaderOf(c), sources.back()->memory.kv(), sources.back()->tables.tables(),
                         sources.back()->place, i % 2 == 0 ? nullptr : &with)
                    .ok());
  }
  const EncodePlan plan = many.Take();
  const HostEncoded encoded = EncodeOnHost(plan);
  for (std::size_t i = 0; i < want.size(); ++i) {
    std::vector<std::byte> object;
    ASSERT_TRUE(AppendObject(plan, i, encoded.sizes, encoded.out, object).ok());
    EXPECT_TRUE(object == want[i]) << "object " << i;
  }
  std::vector<std::byte> none;
  EXPECT_EQ(AppendObject(plan, 5, encoded.sizes, encoded.out, none).code(), Code::kInvalidArgument);
  const ConstBytes less = ConstBytes(encoded.out).first(encoded.out.size() - 1);
  EXPECT_EQ(AppendObject(plan, 4, encoded.sizes, less, none).code(), Code::kInvalidArgument);
  EXPECT_TRUE(none.empty());
}

TEST(LaneEncode, RefusesWhatItDoesNotEncode) {
  LaneCase c{.spec = LaneSpec(DType::kBf16, 64, 32), .levels = LevelSet(0b111)};
  const LaneSource source(c);
  const auto add = [&](const LaneCase& one, const ObjectHeader& header) {
    return EncodePlanner::Make(one.spec)
        .value()
        .Add(header, source.memory.kv(), source.tables.tables(), source.place, nullptr)
        .code();
  };
  EXPECT_EQ(add(c, HeaderOf(c)), Code::kOk);
  for (const LevelSet levels : {LevelSet(Level::kExact), kFourLevels, LevelSet(0b101)}) {
    ObjectHeader header = HeaderOf(c);
    header.levels_encoded = levels;
    EXPECT_EQ(add(c, header), Code::kUnimplemented);
  }
  ObjectHeader header = HeaderOf(c);
  header.token_count += 1;
  EXPECT_EQ(add(c, header), Code::kInvalidArgument);
  header = HeaderOf(c);
  header.profile = NumberedProfileId(9);
  EXPECT_EQ(add(c, header), Code::kInvalidArgument);
  header = HeaderOf(c);
  header.first_position = kPositionsMax - 1;
  EXPECT_EQ(add(c, header), Code::kInvalidArgument);
  LaneCase odd = c;
  odd.spec = LaneSpec(DType::kBf16, 40, 32);
  const LaneSource odd_source(odd);
  EXPECT_EQ(EncodePlanner::Make(odd.spec)
                .value()
                .Add(HeaderOf(odd), odd_source.memory.kv(), odd_source.tables.tables(),
                     odd_source.place, nullptr)
                .code(),
            Code::kUnimplemented);
}

TEST(LaneEncode, ValuesMustBeAligned) {
  const LaneCase c{.spec = LaneSpec(DType::kBf16, 64, 32), .levels = LevelSet(0b111)};
  LaneSource source(c);
  KvPool pool = source.memory.kv().pools[0];
  std::vector<std::byte*> bases(pool.planes[0].base.begin(), pool.planes[0].base.end());
  bases[1] += 1;
  pool.planes[0].base = bases;
  EXPECT_EQ(
      EncodePlanner::Make(c.spec)
          .value()
          .Add(HeaderOf(c), PagedKv{{&pool, 1}}, source.tables.tables(), source.place, nullptr)
          .code(),
      Code::kInvalidArgument);
}

TEST(LaneEncode, PlansFitTheirBounds) {
  // Noise takes the most bytes; EncodeOnHost() gives each launch no more room than the plan names,
  // which memory checkers watch.
  LaneCase c{.spec = LaneSpec(DType::kFp32, 128, 64), .tokens = 256, .levels = LevelSet(0b111)};
  c.pattern = Pattern::kRandomBits;
  c.shapes[0].block_count = 20;
  ExpectEqualToCpu("noise", c);
}

}  // namespace
}  // namespace kdn::codec
