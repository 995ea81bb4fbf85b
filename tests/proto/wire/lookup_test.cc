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

TEST(LookupResponseWriter, HoldsAWholeResponseAfterEveryChunk) {
  const LookupResponse all = ResponseOf(5, 2);
  Buffer out(3, std::byte{0x11});  // The writer appends to what is there.
  LookupResponseWriter writer(out, all.epoch, all.map);
  for (std::size_t count = 0; count <= all.chunks.size(); ++count) {
    const auto decoded = LookupResponse::Decode(ConstBytes(out).subspan(3));
    ASSERT_TRUE(decoded) << count;
    EXPECT_EQ(decoded->chunks.size(), count);
    if (count == all.chunks.size()) break;
    const ChunkLocation& chunk = all.chunks[count];
    writer.BeginChunk(chunk.put_id, chunk.provenance, chunk.token_count, 2);
    for (const PartLocation& part : chunk.parts) {
      writer.AddPart(part.shape, part.level_bytes, {part.replicas.data(), part.replicas.size()});
    }
  }
  Buffer expected(3, std::byte{0x11});
  all.Encode(expected);
  EXPECT_EQ(out, expected);
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
