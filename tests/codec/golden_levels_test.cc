// Goal: objects of several levels that were stored once are read for ever, to the same bits by
// every kernel table, cut after any level, and are still written the same way; broken ones are
// refused for what is broken. Method: tests/golden/levels, and the checksums of what it decodes to.
#include "tests/codec/golden_levels.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <optional>

#include "codec/kernels/select.h"
#include "proto/object/object.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {
namespace {

std::string FileOf(std::string_view name) {
  return std::string(name) + ".object";
}

std::optional<Profile> ProfileFor(const GoldenObject& golden) {
  if (!golden.profile) return std::nullopt;
  Profile profile = Profile::Decode(SpecOf(golden), ReadGoldenFile(kGoldenProfile)).value();
  EXPECT_TRUE(profile.FinishForEncoding().ok());
  profile.Name(NumberedProfileId(0));
  return profile;
}

// "bf16 3 500" to a checksum.
std::map<std::string, std::string> ReadDigests() {
  std::ifstream file(GoldenPath("digests.txt"));
  std::map<std::string, std::string> digests;
  std::string name;
  std::string levels;
  std::string moved;
  std::string digest;
  while (file >> name >> levels >> moved >> digest) {
    digests[name + " " + levels + " " + moved] = digest;
  }
  return digests;
}

TEST(GoldenLevels, DecodeToTheirBits) {
  const auto digests = ReadDigests();
  ASSERT_EQ(digests.size(), GoldenObjects().size() * std::size(kGoldenDecodes));
  for (const GoldenObject& golden : GoldenObjects()) {
    const std::vector<std::byte> object = ReadGoldenFile(FileOf(golden.name));
    const std::optional<Profile> profile = ProfileFor(golden);
    ChunkWorld world = WorldOf(golden);
    const OpenedObject opened = OpenObject(object).value();
    for (const GoldenDecode& decode : kGoldenDecodes) {
      const std::string what = std::string(golden.name) + " " + std::to_string(decode.levels) +
                               " " + std::to_string(decode.moved);
      for (const Kernels* kernels : SupportedKernels()) {
        const auto memory = world.Decode(opened, decode.levels, profile ? &*profile : nullptr,
                                         decode.moved, kernels->name);
        ASSERT_TRUE(memory.has_value()) << what << ": " << memory.error().ToString();
        EXPECT_EQ(DigestOf(*memory), digests.at(what)) << what << ", " << kernels->name;
        if (decode.levels == kLevelCount && decode.moved == 0) {
          EXPECT_TRUE(*memory == world.original()) << what << ", " << kernels->name;
        }
      }
    }
  }
}

TEST(GoldenLevels, AreWrittenAlike) {
  for (const GoldenObject& golden : GoldenObjects()) {
    if (!golden.written) continue;
    const std::vector<std::byte> object = ReadGoldenFile(FileOf(golden.name));
    const std::optional<Profile> profile = ProfileFor(golden);
    for (const Kernels* kernels : SupportedKernels()) {
      ChunkWorld world = WorldOf(golden);
      EXPECT_TRUE(world.Encode(profile ? &*profile : nullptr, kernels->name).value() == object)
          << golden.name << ", " << kernels->name;
    }
  }
}

TEST(GoldenLevels, CutAfterAnyLevelAreObjectsOfThatLevel) {
  const auto digests = ReadDigests();
  for (const GoldenObject& golden : GoldenObjects()) {
    const std::vector<std::byte> object = ReadGoldenFile(FileOf(golden.name));
    const std::optional<Profile> profile = ProfileFor(golden);
    const ObjectHeader header = DecodeHeader(object).value();
    std::size_t size = kObjectHeaderBytes;
    for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
      size += header.level_bytes[levels - 1];
      const ConstBytes cut = ConstBytes(object).first(size);
      const Result<OpenedObject> opened = OpenObject(cut);
      ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
      ASSERT_EQ(opened->places[0].size(), levels);
      ChunkWorld world = WorldOf(golden);
      const auto memory = world.Decode(*opened, levels, profile ? &*profile : nullptr);
      ASSERT_TRUE(memory.has_value()) << memory.error().ToString();
      EXPECT_EQ(DigestOf(*memory),
                digests.at(std::string(golden.name) + " " + std::to_string(levels) + " 0"));
      EXPECT_FALSE(OpenObject(ConstBytes(object).first(size - 1)).has_value());
    }
    EXPECT_EQ(size, object.size());
  }
}

TEST(GoldenLevels, BrokenOnesAreRefusedForWhatIsBroken) {
  const GoldenObject golden{.name = kDamagedObject};
  for (const GoldenLevelDamage& damage : GoldenLevelDamages()) {
    SCOPED_TRACE(damage.name);
    const std::vector<std::byte> object = ReadGoldenFile(FileOf(damage.name));
    ASSERT_FALSE(object.empty());
    const Result<OpenedObject> opened = OpenObject(object);
    ASSERT_EQ(opened.has_value(), damage.verifies);
    if (!opened) {
      EXPECT_EQ(opened.error().code(), damage.code);
      continue;
    }
    for (const Kernels* kernels : SupportedKernels()) {
      ChunkWorld world = WorldOf(golden);
      const auto memory = world.Decode(*opened, kLevelCount, nullptr, 0, kernels->name);
      ASSERT_FALSE(memory.has_value()) << kernels->name;
      EXPECT_EQ(memory.error().code(), damage.code) << kernels->name;
    }
  }
}

TEST(GoldenLevels, AProfileIsReadAndBrokenOnesAreRefused) {
  const ModelSpec spec = SpecOf({.name = "bf16_profile", .profile = true});
  const std::vector<std::byte> good = ReadGoldenFile(kGoldenProfile);
  EXPECT_TRUE(Profile::Decode(spec, good).value().bytes() == good);
  EXPECT_GT(Profile::Decode(spec, good).value().strip(0, 0, 0).block, 1);
  // That of a model with other heads.
  EXPECT_EQ(Profile::Decode(SpecOf({.name = "latent", .attention = AttentionKind::kLatent}), good)
                .error()
                .code(),
            Code::kDataLoss);
  for (const GoldenProfileDamage& damage : GoldenProfileDamages()) {
    const std::vector<std::byte> broken = ReadGoldenFile(damage.name);
    ASSERT_FALSE(broken.empty()) << damage.name;
    const Result<Profile> profile = Profile::Decode(spec, broken);
    ASSERT_FALSE(profile.has_value()) << damage.name;
    EXPECT_EQ(profile.error().code(), damage.code) << damage.name;
  }
}

}  // namespace
}  // namespace kdn::codec
