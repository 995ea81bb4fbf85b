// Goal: what is encoded from one engine's memory comes back bit for bit in another's, whatever the
// two layouts, and nothing else is written. Method: memory starts as poison; a plain loop over the
// address map writes what is expected into a copy; then all bytes are compared.
#include "codec/object_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/random.h"
#include "codec/codec_scratch.h"
#include "codec/kernels/select.h"
#include "proto/object/object.h"
#include "tests/codec/paged_memory.h"

namespace kdn::codec {
namespace {

using Memories = std::vector<std::vector<std::byte>>;

ModelSpec GroupedSpec(DType dtype = DType::kBf16, std::uint16_t head_size = 64,
                      std::uint16_t layers = 3, std::uint16_t heads = 4) {
  ModelSpec spec;
  spec.name = "test";
  spec.dtype = dtype;
  KvGroup group;
  for (std::uint16_t l = 0; l < layers; ++l) group.layers.push_back(l);
  group.kv_heads = heads;
  group.k_head_size = head_size;
  group.v_head_size = head_size;
  spec.groups.push_back(group);
  return spec;
}

ModelSpec MlaSpec() {
  ModelSpec spec = GroupedSpec(DType::kBf16, 128, 2, 1);
  spec.groups[0].attention = AttentionKind::kLatent;
  spec.groups[0].k_head_size = 512;
  spec.groups[0].v_head_size = 64;
  return spec;
}

// Full attention, sliding window and recurrent layers that interleave, each kind with its own pool.
ModelSpec HybridSpec() {
  ModelSpec spec = GroupedSpec(DType::kBf16, 64, 0, 4);
  KvGroup window = spec.groups[0];
  KvGroup state = spec.groups[0];
  spec.groups[0].layers = {0, 1, 4, 7};
  window.layers = {2, 3, 6};
  window.kv_heads = 2;
  window.k_head_size = window.v_head_size = 96;
  window.window_tokens = 128;
  state.attention = AttentionKind::kState;
  state.layers = {5};
  state.kv_heads = 1;
  state.k_head_size = 256;
  state.v_head_size = 0;
  spec.groups.push_back(window);
  spec.groups.push_back(state);
  return spec;
}

ObjectHeader HeaderFor(const ModelSpec& spec, std::uint32_t tokens) {
  ObjectHeader header;
  header.put_id.bytes[3] = std::byte{7};
  header.key.bytes[0] = std::byte{1};
  header.dtype = spec.dtype;
  header.token_count = tokens;
  header.levels_encoded = Level::kExact;
  header.part.layers = Range{0, static_cast<std::uint16_t>(LayerCount(spec))};
  std::uint16_t heads = 0;
  for (const KvGroup& group : spec.groups) heads = std::max(heads, group.kv_heads);
  header.part.kv_heads = Range{0, heads};
  header.layers_per_group = 2;
  header.heads_per_group = 1;
  return header;
}

// An object's header and tiles, as a client has them after verifying.
struct Opened {
  ObjectHeader header;
  std::vector<TileBytes> tiles;
};

Opened Open(const std::vector<std::byte>& object) {
  Opened opened;
  opened.header = DecodeHeader(object).value();
  const ConstBytes segment = ConstBytes(object).subspan(kObjectHeaderBytes);
  const SegmentIndex index = DecodeIndex(segment, TagOf(opened.header)).value();
  const ConstBytes tiles = segment.subspan(index.IndexBytes());
  for (const TileEntry& entry : index.tiles) {
    const ConstBytes bytes = tiles.subspan(entry.offset, entry.size_bytes);
    EXPECT_TRUE(VerifyTile(TagOf(opened.header), entry, bytes));
    opened.tiles.push_back({.entry = entry, .bytes = bytes});
  }
  return opened;
}

class World {
 public:
  World(ModelSpec model, std::uint32_t tokens)
      : spec(std::move(model)),
        codec(ObjectCodec::Make(spec).value()),
        chunk(spec, tokens, 1),
        header(HeaderFor(spec, tokens)),
        place{.first_token = 5, .token_count = tokens} {}

  std::vector<MemoryShape> Shapes(const MemoryShape& shape) const {
    return std::vector<MemoryShape>(spec.groups.size(), shape);
  }

  std::vector<std::byte> Encode(const std::vector<MemoryShape>& shapes, const PartShape& part) {
    TestMemory memory(spec, shapes);
    const TestTables tables(shapes, place, 11);
    chunk.WriteTo(memory, tables, place, part);
    ObjectHeader of_part = header;
    of_part.part = part;
    std::vector<std::byte> object;
    const Status status =
        codec.Encode(of_part, memory.kv(), tables.tables(), place, nullptr, object, scratch);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_LE(object.size(), codec.EncodedBytesMax(of_part));
    EXPECT_TRUE(VerifyObject(object).has_value());
    // Made where it stays it is the same.
    std::vector<std::byte> out(codec.EncodedBytesMax(of_part), std::byte{0xEE});
    const auto size =
        codec.EncodeInto(out, of_part, memory.kv(), tables.tables(), place, nullptr, scratch);
    EXPECT_TRUE(size && std::ranges::equal(ConstBytes(out).first(*size), object));
    return object;
  }
  std::vector<std::byte> Encode(const MemoryShape& shape) {
    return Encode(Shapes(shape), header.part);
  }

  // Decodes objects into poisoned memory and expects exactly the chunk's values in it.
  void ExpectDecodes(const std::vector<std::vector<std::byte>>& objects,
                     const std::vector<MemoryShape>& shapes, const ChunkPlace& to) {
    TestMemory memory(spec, shapes);
    TestMemory expected(spec, shapes);
    const TestTables tables(shapes, to, 23);
    chunk.WriteTo(expected, tables, to, header.part);
    for (const std::vector<std::byte>& object : objects) {
      const Opened opened = Open(object);
      for (const TileBytes& tile : opened.tiles) {
        const Status status = codec.DecodeTile(opened.header, {&tile, 1}, memory.kv(),
                                               tables.tables(), to, nullptr, scratch);
        ASSERT_TRUE(status.ok()) << status.ToString();
      }
    }
    ASSERT_TRUE(expected.Snapshot() == memory.Snapshot());
  }

  ModelSpec spec;
  ObjectCodec codec;
  TestChunk chunk;
  ObjectHeader header;
  ChunkPlace place;
  CodecScratch scratch;
};

// The layouts of vLLM, SGLang and TensorRT-LLM, and one whose dims are not neighbours.
constexpr std::string_view kLayouts[] = {"NLPSHD", "PNSHD",  "NPSHD", "NSHD", "PNHSD",
                                         "NPHSD",  "NLPHSD", "NHSPD", "NHDS"};

TEST(ObjectCodec, EveryPairOfLayoutsRoundTrips) {
  World world(GroupedSpec(DType::kBf16, 32, 2, 2), 37);
  for (const std::string_view from : kLayouts) {
    const std::vector<std::byte> object = world.Encode(MemoryShape{.axes = from});
    for (const std::string_view to : kLayouts) {
      SCOPED_TRACE(std::string(from) + " to " + std::string(to));
      const ChunkPlace place{.first_token = 30, .token_count = 37};
      world.ExpectDecodes(
          {object}, world.Shapes(MemoryShape{.axes = to, .block_tokens = 8, .block_count = 16}),
          place);
    }
  }
}

TEST(ObjectCodec, TheLayoutDoesNotChangeTheObject) {
  World world(GroupedSpec(), 37);
  const std::vector<std::byte> object = world.Encode(MemoryShape{.axes = kLayouts[0]});
  for (const std::string_view axes : kLayouts) {
    EXPECT_EQ(object, world.Encode(MemoryShape{.axes = axes, .block_tokens = 32})) << axes;
  }
}

TEST(ObjectCodec, EveryTypeAndHeadSizeRoundTrips) {
  for (const DType dtype :
       {DType::kBf16, DType::kFp16, DType::kFp32, DType::kFp8E4M3, DType::kFp8E5M2}) {
    for (const std::uint16_t head_size : {32, 48, 80, 128, 192, 256}) {
      SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + std::to_string(head_size));
      World world(GroupedSpec(dtype, head_size, 1, 2), 21);
      const std::vector<std::byte> object = world.Encode(MemoryShape{.axes = "NPSHD"});
      world.ExpectDecodes({object}, world.Shapes(MemoryShape{.axes = "PNHSD"}), world.place);
    }
  }
}

TEST(ObjectCodec, EveryChunkLengthRoundTrips) {
  for (const std::uint32_t tokens : {1U, 2U, 15U, 16U, 17U, 255U, 256U, 257U}) {
    SCOPED_TRACE(tokens);
    World world(GroupedSpec(DType::kBf16, 32, 1, 2), tokens);
    const std::vector<std::byte> object =
        world.Encode(MemoryShape{.axes = "NPSHD", .block_count = 17});
    world.ExpectDecodes({object}, world.Shapes(MemoryShape{.block_count = 17}), world.place);
  }
}

TEST(ObjectCodec, TheLongestChunkRoundTrips) {
  World world(GroupedSpec(DType::kBf16, 64, 1, 1), 4096);
  const MemoryShape shape{.axes = "NPSHD", .block_tokens = 64, .block_count = 66};
  world.ExpectDecodes({world.Encode(shape)}, world.Shapes(shape), world.place);
}

TEST(ObjectCodec, MlaLatentAndRopeRoundTrip) {
  World world(MlaSpec(), 50);
  // One tensor with the rope behind the latent, and two tensors.
  const MemoryShape together{.axes = "NSPD"};
  const MemoryShape apart{.axes = "NSHD"};
  world.ExpectDecodes({world.Encode(together)}, world.Shapes(apart), world.place);
  world.ExpectDecodes({world.Encode(apart)}, world.Shapes(together), world.place);
}

TEST(ObjectCodec, GroupsWithPoolsOfTheirOwnRoundTrip) {
  World world(HybridSpec(), 40);
  const std::vector<MemoryShape> from = {{.axes = "NPSHD", .block_tokens = 16},
                                         {.axes = "NHSPD", .block_tokens = 8},
                                         {.axes = "NSHD", .block_tokens = 4, .block_count = 12}};
  const std::vector<MemoryShape> to = {{.axes = "NHDS", .block_tokens = 32},
                                       {.axes = "PNSHD", .block_tokens = 64},
                                       {.axes = "NLSHD", .block_tokens = 16}};
  world.ExpectDecodes({world.Encode(from, world.header.part)}, to, world.place);
}

TEST(ObjectCodec, OnlyTheTokensOfThePlaceAreWritten) {
  World world(GroupedSpec(), 37);
  const std::vector<std::byte> object = world.Encode(MemoryShape{.axes = "NPSHD"});
  for (const std::uint32_t tokens : {0U, 1U, 20U, 36U}) {
    SCOPED_TRACE(tokens);
    world.ExpectDecodes({object}, world.Shapes(MemoryShape{.axes = "NHSPD"}),
                        ChunkPlace{.first_token = 9, .token_count = tokens});
  }
}

TEST(ObjectCodec, PartsOfAnyCutDecodeIntoHeadsOfAnyCut) {
  World world(GroupedSpec(), 40);
  std::vector<std::vector<std::byte>> objects;
  for (std::uint16_t rank = 0; rank < 2; ++rank) {
    // Each writer's memory holds its own heads only.
    const MemoryShape shape{
        .axes = "NPSHD", .first_head = static_cast<std::uint16_t>(2 * rank), .head_count = 2};
    const PartShape part{
        .number = rank, .count = 2, .layers = {0, 3}, .kv_heads = {shape.first_head, 2}};
    objects.push_back(world.Encode(world.Shapes(shape), part));
  }
  const std::vector<std::byte> whole = world.Encode(MemoryShape{.axes = "NPSHD"});
  for (const std::uint16_t heads : {4, 2, 1}) {
    for (std::uint16_t first = 0; first < 4; first = static_cast<std::uint16_t>(first + heads)) {
      SCOPED_TRACE(testing::Message() << heads << " heads from " << first);
      const auto shapes =
          world.Shapes(MemoryShape{.axes = "PNHSD", .first_head = first, .head_count = heads});
      world.ExpectDecodes(objects, shapes, world.place);
      world.ExpectDecodes({whole}, shapes, world.place);
    }
  }
}

TEST(ObjectCodec, AbsentLayersAreSkipped) {
  World world(GroupedSpec(), 40);
  const std::vector<std::byte> object = world.Encode(MemoryShape{});
  for (const std::vector<bool>& layers :
       {std::vector<bool>{true, false, false}, {false, true, true}, {false, false, false}}) {
    world.ExpectDecodes({object}, world.Shapes(MemoryShape{.axes = "NPHSD", .layers = layers}),
                        world.place);
  }
}

TEST(ObjectCodec, PipelinePartsDecodeTogether) {
  World world(GroupedSpec(), 40);
  std::vector<std::vector<std::byte>> objects;
  const Range cuts[] = {{0, 1}, {1, 2}};
  for (std::uint16_t rank = 0; rank < 2; ++rank) {
    const PartShape part{.number = rank, .count = 2, .layers = cuts[rank], .kv_heads = {0, 4}};
    const MemoryShape shape{.layers = {rank == 0, rank == 1, rank == 1}};
    objects.push_back(world.Encode(world.Shapes(shape), part));
  }
  world.ExpectDecodes(objects, world.Shapes(MemoryShape{.axes = "NLPSHD"}), world.place);
}

TEST(ObjectCodec, TileGroupsOfEverySizeRoundTrip) {
  for (const std::uint16_t layers : {1, 2, 3, 200}) {
    for (const std::uint16_t heads : {1, 3, 4, 200}) {
      World world(GroupedSpec(DType::kFp8E5M2, 32), 20);
      world.header.layers_per_group = layers;
      world.header.heads_per_group = heads;
      const std::vector<std::byte> object = world.Encode(MemoryShape{});
      world.ExpectDecodes(
          {object}, world.Shapes(MemoryShape{.axes = "NPSHD", .first_head = 1, .head_count = 2}),
          world.place);
    }
  }
}

TEST(ObjectCodec, EveryKernelTableWritesTheSameObject) {
  for (const DType dtype : {DType::kBf16, DType::kFp16, DType::kFp32, DType::kFp8E4M3}) {
    World world(GroupedSpec(dtype, 64, 1, 2), 100);
    std::vector<std::vector<std::byte>> objects;
    for (const Kernels* kernels : SupportedKernels()) {
      world.codec = ObjectCodec::Make(world.spec, kernels->name).value();
      objects.push_back(world.Encode(MemoryShape{}));
      EXPECT_EQ(objects.front(), objects.back()) << kernels->name;
      world.ExpectDecodes({objects.front()}, world.Shapes(MemoryShape{}), world.place);
    }
  }
}

TEST(ObjectCodec, EncodeAppends) {
  World world(GroupedSpec(), 20);
  const std::vector<std::byte> alone = world.Encode(MemoryShape{});
  TestMemory memory(world.spec, world.Shapes(MemoryShape{}));
  const TestTables tables(world.Shapes(MemoryShape{}), world.place, 11);
  world.chunk.WriteTo(memory, tables, world.place, world.header.part);
  std::vector<std::byte> object(17, std::byte{9});
  ASSERT_TRUE(world.codec
                  .Encode(world.header, memory.kv(), tables.tables(), world.place, nullptr, object,
                          world.scratch)
                  .ok());
  ASSERT_EQ(object.size(), 17 + alone.size());
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), object.begin() + 17));
}

TEST(ObjectCodec, SpecsAndKernelsThatCannotBeAreRefused) {
  ModelSpec spec = GroupedSpec();
  EXPECT_EQ(ObjectCodec::Make(spec, "abacus").error().code(), Code::kNotFound);
  spec.groups.clear();
  EXPECT_EQ(ObjectCodec::Make(spec).error().code(), Code::kInvalidArgument);
}

// Of a tile of one long strip samples say whether it is worth taking apart.
TEST(ObjectCodec, ALongTileOfNoiseIsRawAndOneThatIsAnEighthZerosIsNot) {
  constexpr std::uint32_t kTokens = 512;
  constexpr std::size_t kTokenBytes = 256;
  ModelSpec spec = GroupedSpec(DType::kFp8E4M3, kTokenBytes, 1, 1);
  spec.groups[0].attention = AttentionKind::kState;
  spec.groups[0].v_head_size = 0;
  const ObjectCodec codec = ObjectCodec::Make(spec).value();
  std::vector<std::byte> memory(kTokens * kTokenBytes);
  SeededRandom(3).Fill(memory);
  std::byte* const base = memory.data();
  KvPool pool{.planes = {}, .block_tokens = kTokens, .block_count = 1, .head_count = 1};
  pool.planes[0] = {.base = {&base, 1}, .slot_stride = kTokenBytes, .dim_stride = 1};
  const std::uint32_t block = 0;
  const std::span<const std::uint32_t> table(&block, 1);
  CodecScratch scratch;
  const auto scheme = [&] {
    std::vector<std::byte> object;
    const Status status =
        codec.Encode(HeaderFor(spec, kTokens), {{&pool, 1}}, {{&table, 1}},
                     {.first_token = 0, .token_count = kTokens}, nullptr, object, scratch);
    EXPECT_TRUE(status.ok()) << status.ToString();
    const Opened opened = Open(object);
    EXPECT_EQ(opened.tiles.size(), 1U);
    return opened.tiles.at(0).entry.scheme;
  };
  EXPECT_EQ(scheme(), TileScheme::kRaw);
  const std::vector<std::byte> noise = memory;
  const std::size_t part = memory.size() / 8;
  for (std::size_t begin = 0; begin + part <= memory.size(); begin += part / 2) {
    std::copy(noise.begin(), noise.end(), memory.begin());
    std::fill_n(memory.begin() + static_cast<std::ptrdiff_t>(begin), part, std::byte{0});
    EXPECT_EQ(scheme(), TileScheme::kBytePlanes) << begin;
  }
}

}  // namespace
}  // namespace kdn::codec
