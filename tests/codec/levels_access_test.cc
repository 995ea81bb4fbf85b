// Goal: a tile of one level is read, verified and decoded without the rest of its object, and what
// was loaded coarse is made fine by the missing segments alone. Method: each tile's bytes are
// copied out, all others are damaged or not there at all; memory is compared byte for byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "codec/kernels/select.h"
#include "proto/object/object.h"
#include "tests/codec/chunk_world.h"
#include "tests/codec/one_tile.h"

namespace kdn::codec {
namespace {

ModelSpec Spec() {
  ModelSpec spec;
  spec.name = "access";
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 32, .base = 10000.0};
  spec.groups.push_back(
      {.layers = {0, 1, 2, 3}, .kv_heads = 3, .k_head_size = 48, .v_head_size = 32});
  return spec;
}

// The same chunk coded without a profile and with one.
class Access : public testing::TestWithParam<bool> {
 protected:
  Access() : world_(Spec(), 21) {
    if (GetParam()) profile_.emplace(MadeProfile(world_.spec(), 5));
    object_ = world_.Encode(profile()).value();
    layout_ = LayoutOf(object_).value();
  }
  const Profile* profile() const { return profile_ ? &*profile_ : nullptr; }

  ConstBytes Segment(std::size_t level) const {
    return ConstBytes(object_).subspan(layout_.offset[level], layout_.header.level_bytes[level]);
  }
  ChunkWorld::Memories Whole(std::size_t levels, std::int64_t moved = 0) {
    return world_.Decode(OpenObject(object_).value(), levels, profile(), moved).value();
  }

  ChunkWorld world_;
  std::optional<Profile> profile_;
  std::vector<std::byte> object_;
  ObjectLayout layout_;
};

// Bytes that are `whole`'s where they are not poison's; `covered` gets those.
void ExpectPart(const ChunkWorld::Memories& part, const ChunkWorld::Memories& whole,
                ChunkWorld::Memories& covered, const ChunkWorld::Memories& poison) {
  std::size_t written = 0;
  for (std::size_t m = 0; m < part.size(); ++m) {
    for (std::size_t i = 0; i < part[m].size(); ++i) {
      if (part[m][i] == poison[m][i]) continue;
      ASSERT_EQ(part[m][i], whole[m][i]);
      covered[m][i] = part[m][i];
      ++written;
    }
  }
  EXPECT_GT(written, 0U);
}

TEST_P(Access, ATileNeedsItsOwnCoarserTilesAndNothingElse) {
  const ObjectTag tag = TagOf(layout_.header);
  for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
    const ChunkWorld::Memories whole = Whole(levels);
    ChunkWorld::Memories covered = world_.poison();
    const std::size_t places = OpenObject(object_).value().places.size();
    ASSERT_EQ(places, 2U * 3U * 2U);  // layer groups, heads, planes
    for (std::size_t p = 0; p < places; ++p) {
      // What a reader fetches: the indices, and of each level one tile, in memory of its own.
      std::vector<std::vector<std::byte>> fetched;
      OpenedObject part{.header = layout_.header, .places = {{}}};
      fetched.reserve(levels);
      for (std::size_t l = 0; l < levels; ++l) {
        const SegmentIndex index = DecodeIndex(Segment(l), tag).value();
        const TileEntry& entry = index.tiles[p];
        const ConstBytes bytes =
            Segment(l).subspan(index.IndexBytes() + entry.offset, entry.size_bytes);
        fetched.emplace_back(bytes.begin(), bytes.end());
        ASSERT_TRUE(VerifyTile(tag, entry, fetched.back()));
        part.places[0].push_back({entry, fetched.back()});
      }
      const auto memory = world_.Decode(part, levels, profile());
      ASSERT_TRUE(memory.has_value()) << memory.error().ToString();
      ExpectPart(*memory, whole, covered, world_.poison());
    }
    EXPECT_TRUE(covered == whole) << levels << " levels";
  }
}

TEST_P(Access, DamageElsewhereDoesNotKeepATileFromBeingRead) {
  const ObjectTag tag = TagOf(layout_.header);
  const SegmentIndex index = DecodeIndex(Segment(0), tag).value();
  const TileEntry& entry = index.tiles[4];
  const std::size_t front = layout_.offset[0] + index.IndexBytes();
  std::vector<std::byte> damaged = object_;
  for (std::size_t i = front; i < damaged.size(); ++i) {
    const bool mine = i >= front + entry.offset && i < front + entry.offset + entry.size_bytes;
    if (!mine) damaged[i] ^= std::byte{0x5A};
  }
  EXPECT_FALSE(OpenObject(damaged).has_value());
  const ConstBytes bytes = ConstBytes(damaged).subspan(front + entry.offset, entry.size_bytes);
  ASSERT_TRUE(VerifyTile(tag, entry, bytes));
  const OpenedObject part{.header = layout_.header, .places = {{{entry, bytes}}}};
  ChunkWorld::Memories covered = world_.poison();
  ExpectPart(world_.Decode(part, 1, profile()).value(), Whole(1), covered, world_.poison());
}

TEST_P(Access, UpgradingByTheMissingSegmentsIsDecodingAtOnce) {
  for (const std::int64_t moved : {0, 70}) {
    // A reader that has the header, and fetches one segment after the other.
    const ObjectTag tag = TagOf(layout_.header);
    std::vector<std::vector<std::byte>> fetched;
    fetched.reserve(kLevelCount);
    OpenedObject held{.header = layout_.header, .places = {}};
    for (std::size_t l = 0; l < kLevelCount; ++l) {
      const ConstBytes& segment = fetched.emplace_back(Segment(l).begin(), Segment(l).end());
      const SegmentIndex index = DecodeIndex(segment, tag).value();
      held.places.resize(index.tiles.size());
      for (std::size_t p = 0; p < index.tiles.size(); ++p) {
        const TileEntry& entry = index.tiles[p];
        held.places[p].push_back(
            {entry, segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes)});
      }
      const auto memory = world_.Decode(held, l + 1, profile(), moved);
      ASSERT_TRUE(memory.has_value()) << memory.error().ToString();
      EXPECT_TRUE(*memory == Whole(l + 1, moved)) << l + 1 << " levels, moved by " << moved;
    }
  }
}

TEST_P(Access, ObjectsOfFewerLevelsAreTheSameUpToThere) {
  for (std::size_t levels = 1; levels < kLevelCount; ++levels) {
    ChunkWorld world(Spec(), 21);
    world.header.levels_encoded = LevelSet(static_cast<std::uint8_t>((1U << levels) - 1));
    const auto object = world.Encode(profile()).value();
    const auto memory = world.Decode(OpenObject(object).value(), levels, profile()).value();
    EXPECT_TRUE(memory == Whole(levels)) << levels << " levels";
  }
}

INSTANTIATE_TEST_SUITE_P(WithoutAndWithProfile, Access, testing::Bool());

}  // namespace
}  // namespace kdn::codec
