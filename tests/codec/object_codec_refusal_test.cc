// Goal: what cannot be coded is refused with the right code, and a refusal leaves object and memory
// as they were.
#include <gtest/gtest.h>

#include <algorithm>

#include "codec/codec_scratch.h"
#include "codec/object_codec.h"
#include "tests/codec/paged_memory.h"

namespace kdn::codec {
namespace {

constexpr std::uint32_t kTokens = 40;

ModelSpec Spec() {
  ModelSpec spec;
  spec.name = "test";
  KvGroup group;
  group.layers = {0, 1, 2};
  group.kv_heads = 4;
  group.k_head_size = group.v_head_size = 64;
  spec.groups.push_back(group);
  return spec;
}

class Refusal : public testing::Test {
 protected:
  Refusal()
      : spec_(Spec()),
        codec_(ObjectCodec::Make(spec_).value()),
        shapes_{MemoryShape{}},
        memory_(spec_, shapes_),
        tables_(shapes_, place_, 3) {
    header_.levels_encoded = Level::kExact;
    header_.token_count = kTokens;
    header_.part.layers = {0, 3};
    header_.part.kv_heads = {0, 4};
    header_.layers_per_group = 3;
    header_.heads_per_group = 2;
    TestChunk(spec_, kTokens, 1).WriteTo(memory_, tables_, place_, header_.part);
    EXPECT_TRUE(
        codec_.Encode(header_, memory_.kv(), tables_.tables(), place_, nullptr, object_, scratch_)
            .ok());
    header_ = DecodeHeader(object_).value();
    const ConstBytes segment = ConstBytes(object_).subspan(kObjectHeaderBytes);
    const SegmentIndex index = DecodeIndex(segment, TagOf(header_)).value();
    tile_.entry = index.tiles[0];
    tile_.bytes = segment.subspan(index.IndexBytes(), tile_.entry.size_bytes);
  }

  Code EncodeCode(const ObjectHeader& header, const PagedKv& kv, const ChunkPlace& place) {
    const std::vector<std::byte> before = object_;
    const Code code =
        codec_.Encode(header, kv, tables_.tables(), place, nullptr, object_, scratch_).code();
    if (code != Code::kOk) {
      EXPECT_EQ(object_, before);
    }
    return code;
  }
  Code EncodeCode(const ObjectHeader& header) { return EncodeCode(header, memory_.kv(), place_); }

  Code DecodeCode(const ObjectHeader& header, const TileBytes& tile, const ChunkPlace& place) {
    const auto before = memory_.Snapshot();
    const Code code = codec_
                          .DecodeTile(header, {&tile, 1}, memory_.kv(), tables_.tables(), place,
                                      nullptr, scratch_)
                          .code();
    if (code != Code::kOk) {
      EXPECT_TRUE(memory_.Snapshot() == before);
    }
    return code;
  }
  Code DecodeCode(const TileBytes& tile) { return DecodeCode(header_, tile, place_); }

  ModelSpec spec_;
  ObjectCodec codec_;
  ChunkPlace place_{.first_token = 10, .token_count = kTokens};
  std::vector<MemoryShape> shapes_;
  TestMemory memory_;
  TestTables tables_;
  ObjectHeader header_;
  std::vector<std::byte> object_;
  CodecScratch scratch_;
  TileBytes tile_;
};

TEST_F(Refusal, HeadersThatDoNotFitAreRefused) {
  const auto with = [&](auto change) {
    ObjectHeader header = header_;
    change(header);
    EXPECT_EQ(codec_.EncodedBytesMax(header) == 0, EncodeCode(header) == Code::kInvalidArgument);
    return EncodeCode(header);
  };
  EXPECT_EQ(with([](ObjectHeader& h) { h.dtype = DType::kFp16; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.part.layers = {1, 3}; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.part.layers = {1, 0}; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.part.kv_heads = {4, 1}; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.part.kv_heads = {0, 0}; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.layers_per_group = 0; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.heads_per_group = 0; }), Code::kInvalidArgument);
  EXPECT_EQ(with([](ObjectHeader& h) { h.token_count = 0; }), Code::kInvalidArgument);
}

TEST_F(Refusal, LevelsWithGapsAreUnimplementedAndTilesWithGapsRefused) {
  ObjectHeader header = header_;
  header.levels_encoded.Add(Level::kFine);
  EXPECT_EQ(EncodeCode(header), Code::kUnimplemented);
  header.levels_encoded = Level::kStandard;
  EXPECT_EQ(EncodeCode(header), Code::kUnimplemented);
  TileBytes tile = tile_;
  tile.entry.at.level = Level::kStandard;
  EXPECT_EQ(DecodeCode(tile), Code::kInvalidArgument);
  tile = tile_;
  tile.entry.scheme = TileScheme::kResidual;
  EXPECT_EQ(DecodeCode(tile), Code::kInvalidArgument);
  EXPECT_EQ(
      codec_.DecodeTile(header_, {}, memory_.kv(), tables_.tables(), place_, nullptr, scratch_)
          .code(),
      Code::kInvalidArgument);
}

TEST_F(Refusal, EncodingNeedsEveryLayerHeadAndBlock) {
  EXPECT_EQ(EncodeCode(header_, memory_.kv(), {.first_token = 10, .token_count = kTokens - 1}),
            Code::kInvalidArgument);
  // Past the table's end.
  EXPECT_EQ(EncodeCode(header_, memory_.kv(), {.first_token = 60, .token_count = kTokens}),
            Code::kInvalidArgument);
  EXPECT_EQ(EncodeCode(header_, memory_.kv(), {.first_token = ~0ULL, .token_count = kTokens}),
            Code::kInvalidArgument);
  EXPECT_EQ(EncodeCode(header_, PagedKv{}, place_), Code::kInvalidArgument);
  KvPool pool = memory_.group(0).pool();
  const PagedKv kv{{&pool, 1}};
  pool.head_count = 3;
  EXPECT_EQ(EncodeCode(header_, kv, place_), Code::kInvalidArgument);
  pool = memory_.group(0).pool();
  pool.block_count = 1;
  EXPECT_EQ(EncodeCode(header_, kv, place_), Code::kInvalidArgument);
  pool = memory_.group(0).pool();
  pool.block_tokens = 0;
  EXPECT_EQ(EncodeCode(header_, kv, place_), Code::kInvalidArgument);
  pool = memory_.group(0).pool();
  std::byte* const bases[] = {pool.planes[1].base[0], nullptr, pool.planes[1].base[2]};
  pool.planes[1].base = bases;
  EXPECT_EQ(EncodeCode(header_, kv, place_), Code::kInvalidArgument);
}

TEST_F(Refusal, TilesOfPlacesThatThePartHasNotAreDataLoss) {
  const auto with = [&](auto change) {
    TileBytes tile = tile_;
    change(tile.entry);
    return DecodeCode(tile);
  };
  EXPECT_EQ(with([](TileEntry&) {}), Code::kOk);
  EXPECT_EQ(with([](TileEntry& e) { e.at.layers = {0, 4}; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.layers = {65535, 65535}; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.layers = {0, 0}; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.kv_heads = {3, 2}; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.kv_heads = {0, 0}; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.plane = Plane::kLatent; }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.at.plane = static_cast<Plane>(77); }), Code::kDataLoss);
  EXPECT_EQ(with([](TileEntry& e) { e.scheme = static_cast<TileScheme>(9); }),
            Code::kUnimplemented);
  EXPECT_EQ(with([](TileEntry& e) { e.scheme = TileScheme::kRaw; }), Code::kDataLoss);
}

TEST_F(Refusal, TilesThatDoNotDecodeWriteNothing) {
  std::vector<std::byte> broken(tile_.bytes.begin(), tile_.bytes.end());
  for (std::size_t at = 0; at < broken.size(); at += 37) {
    std::vector<std::byte> bytes = broken;
    bytes[at] ^= std::byte{0x10};
    const Code code = DecodeCode({tile_.entry, bytes});
    EXPECT_TRUE(code == Code::kDataLoss || code == Code::kOk) << at;
  }
  EXPECT_EQ(DecodeCode({tile_.entry, ConstBytes(broken).first(broken.size() / 2)}),
            Code::kDataLoss);
  EXPECT_EQ(DecodeCode({tile_.entry, {}}), Code::kDataLoss);
}

TEST_F(Refusal, DecodingNeedsBlocksInsideThePool) {
  EXPECT_EQ(DecodeCode(header_, tile_, {.first_token = 10, .token_count = kTokens + 1}),
            Code::kInvalidArgument);
  EXPECT_EQ(DecodeCode(header_, tile_, {.first_token = 64, .token_count = 1}),
            Code::kInvalidArgument);
  KvPool pool = memory_.group(0).pool();
  pool.block_count = 1;
  const PagedKv kv{{&pool, 1}};
  EXPECT_EQ(codec_.DecodeTile(header_, {&tile_, 1}, kv, tables_.tables(), place_, nullptr, scratch_)
                .code(),
            Code::kInvalidArgument);
}

TEST_F(Refusal, AGroupThatTheMemoryHasNothingOfNeedsNoBlocks) {
  const KvPool nothing{};
  const PagedKv kv{{&nothing, 1}};
  const std::span<const std::uint32_t> no_table;
  EXPECT_TRUE(codec_
                  .DecodeTile(header_, {&tile_, 1}, kv, BlockTables{{&no_table, 1}}, place_,
                              nullptr, scratch_)
                  .ok());
}

TEST_F(Refusal, RandomBitsAreStoredRawAndNeverGrow) {
  // Poison is random: no plane of it compresses.
  TestMemory noise(spec_, shapes_);
  std::vector<std::byte> object;
  ASSERT_TRUE(
      codec_.Encode(header_, noise.kv(), tables_.tables(), place_, nullptr, object, scratch_).ok());
  const ConstBytes segment = ConstBytes(object).subspan(kObjectHeaderBytes);
  const SegmentIndex index = DecodeIndex(segment, TagOf(header_)).value();
  for (const TileEntry& entry : index.tiles) {
    const std::size_t raw = std::size_t{3} * 2 * kTokens * 64 * 2;
    EXPECT_LE(entry.size_bytes, raw + 64);
    EXPECT_EQ(entry.scheme, TileScheme::kRaw);
  }
  const auto before = noise.Snapshot();
  for (const TileEntry& entry : index.tiles) {
    const TileBytes tile{entry,
                         segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes)};
    ASSERT_TRUE(codec_
                    .DecodeTile(header_, {&tile, 1}, noise.kv(), tables_.tables(), place_, nullptr,
                                scratch_)
                    .ok());
  }
  EXPECT_TRUE(noise.Snapshot() == before);
}

}  // namespace
}  // namespace kdn::codec
