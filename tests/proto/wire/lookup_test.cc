#include "proto/wire/lookup.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/random.h"

namespace kdn::wire {
namespace {

LookupResponse ResponseOf(std::size_t chunk_count, std::uint16_t part_count) {
  SeededRandom random(3);
  LookupResponse response;
  response.epoch = Epoch{4};
  response.map.version = 2;
  response.chunks.resize(chunk_count);
  for (ChunkLocation& chunk : response.chunks) {
    chunk.put_id = RandomId<PutId>(random);
    chunk.provenance = kExactProvenance;
    chunk.token_count = 256;
    for (std::uint16_t part = 0; part < part_count; ++part) {
      PartLocation location;
      location.shape = {part, part_count, {0, 32}, {part, 1}};
      location.level_bytes = {1, 2, 3, static_cast<std::uint32_t>(random.Next() % 1000)};
      location.replicas.push_back({NodeId{1}, kAllLevels, kAllLevels});
      if (part % 2 == 0) location.replicas.push_back({NodeId{2}, LevelSet{}, kAllLevels});
      chunk.parts.push_back(location);
    }
  }
  return response;
}

TEST(LookupResponse, ComesBackAsItWas) {
  for (const std::uint16_t part_count : {1, 2, 5, 64}) {
    const LookupResponse response = ResponseOf(20, part_count);
    Buffer bytes;
    response.Encode(bytes);
    const auto decoded = LookupResponse::Decode(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->epoch, response.epoch);
    EXPECT_EQ(decoded->map, response.map);
    EXPECT_EQ(decoded->chunks, response.chunks);
  }
}

TEST(LookupResponse, WithoutAReplicaOrAPartIsRefused) {
  LookupResponse no_replica = ResponseOf(1, 1);
  no_replica.chunks[0].parts[0].replicas.clear();
  Buffer bytes;
  no_replica.Encode(bytes);
  EXPECT_FALSE(LookupResponse::Decode(bytes));

  LookupResponse no_part = ResponseOf(1, 1);
  no_part.chunks[0].parts.clear();
  bytes.clear();
  no_part.Encode(bytes);
  EXPECT_FALSE(LookupResponse::Decode(bytes));
}

TEST(LookupResponse, WithPartsOutOfOrderIsRefused) {
  LookupResponse response = ResponseOf(1, 2);
  std::swap(response.chunks[0].parts[0], response.chunks[0].parts[1]);
  Buffer bytes;
  response.Encode(bytes);
  EXPECT_FALSE(LookupResponse::Decode(bytes));
}

TEST(LookupResponse, WithNodesOutOfOrderIsRefused) {
  LookupResponse response;
  response.map.nodes = {{NodeId{2}, {}, {"a:1"}}, {NodeId{1}, {}, {"b:1"}}};
  Buffer bytes;
  response.Encode(bytes);
  EXPECT_FALSE(LookupResponse::Decode(bytes));
}

TEST(LookupResponseWriter, AppendsWhatEncodeWouldInEitherLayout) {
  for (const LookupLayout layout : {LookupLayout::kPlain, LookupLayout::kCompact}) {
    LookupResponse all = ResponseOf(300, 2);
    all.layout = layout;
    all.chain = 3;
    Buffer out(3, std::byte{0x11});  // The writer appends to what is there.
    LookupResponseWriter writer(out, all.epoch, all.map, layout);
    writer.SetChain(3);
    for (const ChunkLocation& chunk : all.chunks) writer.Add(chunk);
    EXPECT_EQ(writer.chunk_count(), all.chunks.size());
    const std::size_t size_bytes = writer.size_bytes();
    writer.Finish();
    EXPECT_EQ(out.size(), size_bytes);
    Buffer expected(3, std::byte{0x11});
    all.Encode(expected);
    EXPECT_EQ(out, expected);
  }
}

// Whatever of a chunk is as in the one before, and whatever is not.
TEST(CompactLookupResponse, ComesBackForEveryMixtureOfWhatIsTheSame) {
  SeededRandom random(5);
  const LookupResponse pool = [] {
    LookupResponse made = ResponseOf(3, 1);
    for (const ChunkLocation& more : ResponseOf(3, 3).chunks) made.chunks.push_back(more);
    return made;
  }();
  const auto pick = [&]() -> const ChunkLocation& {
    return pool.chunks[random.Next() % pool.chunks.size()];
  };
  LookupResponse response;
  response.layout = LookupLayout::kCompact;
  for (int i = 0; i < 1000; ++i) {
    ChunkLocation chunk = pick();
    chunk.put_id = pick().put_id;
    if (random.Next() % 3 == 0) chunk.token_count = 17;
    if (random.Next() % 3 == 0) chunk.parts.back().replicas.push_back({NodeId{9}, {}, kAllLevels});
    if (random.Next() % 3 == 0) chunk.parts.front().level_bytes[0] = 5;
    response.chunks.push_back(chunk);
  }
  Buffer bytes;
  response.Encode(bytes);
  const auto decoded = LookupResponse::Decode(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->chunks, response.chunks);
}

TEST(CompactLookupResponse, OfChunksThatDifferInTheirPutAloneTakesAByteMoreThanThePut) {
  LookupResponse response = ResponseOf(1, 1);
  response.layout = LookupLayout::kCompact;
  Buffer one;
  response.Encode(one);
  SeededRandom random(6);
  while (response.chunks.size() < 512) {
    response.chunks.push_back(response.chunks.front());
    response.chunks.back().put_id = RandomId<PutId>(random);
  }
  Buffer all;
  response.Encode(all);
  EXPECT_EQ(all.size(), one.size() + 511 * (1 + PutId::kSize));
}

TEST(CompactLookupResponse, ThatRepeatsAFieldOrTakesOneFromNowhereIsRefused) {
  LookupResponse response = ResponseOf(1, 1);
  response.layout = LookupLayout::kCompact;
  Buffer bytes;
  response.Encode(bytes);
  const std::size_t chunk_at = bytes.size() - (1 + 16 + 8 + 2 + 8 + 16 + 1 + 2 * 6);
  ASSERT_EQ(bytes[chunk_at], std::byte{0});
  Buffer twice = bytes;
  twice.insert(twice.end(), bytes.begin() + static_cast<std::ptrdiff_t>(chunk_at), bytes.end());
  twice[8] = std::byte{2};
  EXPECT_FALSE(LookupResponse::Decode(twice));
  Buffer from_nowhere(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(chunk_at));
  from_nowhere.push_back(std::byte{31});
  EXPECT_FALSE(LookupResponse::Decode(from_nowhere));
}

TEST(LookupRequest, OfVersionOneIsAnsweredPlainly) {
  LookupRequest request;
  request.chains.resize(1);
  for (const std::uint16_t version : {1, 2}) {
    request.head.version = version;
    Buffer bytes;
    request.Encode(bytes);
    const auto view = LookupRequestView::Decode(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->Accepts(), version == 1 ? LookupLayout::kPlain : LookupLayout::kCompact);
  }
}

TEST(LookupRequest, OfTheLargestSizeComesBack) {
  LookupRequest request;
  request.chains.assign(3, std::vector<ChunkKey>(limits::kKeysPerCallMax));
  Buffer bytes;
  request.Encode(bytes);
  EXPECT_LE(bytes.size(), limits::kRequestBytesMax);
  const auto decoded = LookupRequest::Decode(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->chains, request.chains);
}

TEST(LookupRequest, BeyondTheKeyLimitIsRefused) {
  LookupRequest request;
  request.chains.assign(1, std::vector<ChunkKey>(limits::kKeysPerCallMax + 1));
  Buffer bytes;
  request.Encode(bytes);
  EXPECT_FALSE(LookupRequest::Decode(bytes));
}

TEST(OneOrMore, KeepsItsElementsAsItGrowsAndShrinks) {
  OneOrMore<int> list;
  EXPECT_TRUE(list.empty());
  list.push_back(1);
  EXPECT_EQ(list, (OneOrMore<int>{1}));
  list.push_back(2);
  list.push_back(3);
  EXPECT_EQ(list, (OneOrMore<int>{1, 2, 3}));
  EXPECT_EQ(list.back(), 3);
  list.resize(1);
  EXPECT_EQ(list, (OneOrMore<int>{1}));
  list.resize(2);
  EXPECT_EQ(list, (OneOrMore<int>{1, 0}));
  list.clear();
  EXPECT_TRUE(list.empty());
  list.push_back(9);
  EXPECT_EQ(list, (OneOrMore<int>{9}));
}

}  // namespace
}  // namespace kdn::wire
