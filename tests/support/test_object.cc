#include "tests/support/test_object.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/random.h"

namespace kdn::test {
namespace {

void DrawIdentity(SeededRandom& random, ObjectHeader& header) {
  const auto key = RandomId<ChunkKey>(random);
  const PutId put_id = MakePutId(Epoch{1}, random);
  const auto model = RandomId<ModelFingerprint>(random);
  if (header.key.IsZero()) header.key = key;
  if (header.put_id.IsZero()) header.put_id = put_id;
  if (header.model.IsZero()) header.model = model;
  if (header.parent.IsZero() && header.chain_root.IsZero()) header.chain_root = header.key;
}

SegmentIndex EmptyTiles(const ObjectHeader& header, Level level) {
  SegmentIndex index{.level = level, .tiles = {}};
  // One KV group: layers are cut as heads are.
  for (const Range& layers : HeadGroups(header.part.layers, header.layers_per_group)) {
    for (const Range& kv_heads : HeadGroups(header.part.kv_heads, header.heads_per_group)) {
      for (const Plane plane : {Plane::kK, Plane::kV}) {
        TileEntry entry;
        entry.at = {.level = level, .plane = plane, .layers = layers, .kv_heads = kv_heads};
        index.tiles.push_back(entry);
      }
    }
  }
  return index;
}

// A segment of `size_bytes`, or of as many as its tiles need; equal tiles, the last has the rest.
std::vector<std::byte> MakeSegment(const ObjectHeader& header, Level level, std::size_t size_bytes,
                                   SeededRandom& random) {
  SegmentIndex index = EmptyTiles(header, level);
  const std::size_t tile_count = index.tiles.size();
  const std::size_t payload =
      std::max(size_bytes, index.IndexBytes() + tile_count) - index.IndexBytes();
  std::vector<std::byte> tiles(payload);
  random.Fill(tiles);
  std::size_t offset = 0;
  for (TileEntry& entry : index.tiles) {
    const bool last = &entry == &index.tiles.back();
    const std::size_t size = last ? payload - offset : payload / tile_count;
    entry.offset = static_cast<std::uint32_t>(offset);
    entry.size_bytes = static_cast<std::uint32_t>(size);
    entry.checksum = TileChecksum(TagOf(header), entry.at, entry.scheme,
                                  ConstBytes(tiles).subspan(offset, size));
    offset += size;
  }
  std::vector<std::byte> segment = EncodeIndex(index, TagOf(header));
  segment.insert(segment.end(), tiles.begin(), tiles.end());
  return segment;
}

}  // namespace

ObjectHeader ObjectOptions::DefaultHeader() {
  ObjectHeader header;
  header.tenant = TenantId{1};
  header.secret = SecretId{1};
  header.part.layers = {0, 4};
  header.part.kv_heads = {0, 4};
  header.layers_per_group = 2;
  header.heads_per_group = 2;
  header.token_count = 256;
  header.provenance = kExactProvenance;
  return header;
}

TestObject MakeObject(const ObjectOptions& options) {
  SeededRandom random(options.seed);
  TestObject object{.header = options.header, .bytes = {}, .digest = {}};
  ObjectHeader& header = object.header;
  DrawIdentity(random, header);
  header.levels_encoded = options.levels;
  if (options.levels == LevelSet(Level::kExact)) header.flags |= kFlagExactAlone;

  std::size_t left = options.size_bytes - std::min(options.size_bytes, kObjectHeaderBytes);
  auto levels_left = static_cast<std::size_t>(__builtin_popcount(options.levels.bits()));
  std::vector<std::byte> segments;
  for (const LevelInfo& info : Levels()) {
    if (!options.levels.Has(info.level)) continue;
    const std::vector<std::byte> segment =
        MakeSegment(header, info.level, left / levels_left, random);
    left -= std::min(left, segment.size());
    --levels_left;
    header.level_bytes[static_cast<std::size_t>(info.level)] =
        static_cast<std::uint32_t>(segment.size());
    segments.insert(segments.end(), segment.begin(), segment.end());
  }
  const HeaderBytes encoded = EncodeHeader(header);
  object.bytes.assign(encoded.begin(), encoded.end());
  object.bytes.insert(object.bytes.end(), segments.begin(), segments.end());

  const Result<ObjectDigest> digest = VerifyObject(object.bytes);
  if (!digest) {
    std::fprintf(stderr, "MakeObject: %s\n", digest.error().ToString().c_str());
    std::abort();
  }
  object.digest = *digest;
  return object;
}

ConstBytes SegmentOf(const TestObject& object, Level level) {
  const Result<ObjectLayout> layout = LayoutOf(object.bytes);
  const auto number = static_cast<std::size_t>(level);
  return ConstBytes(object.bytes)
      .subspan(layout->offset[number], object.header.level_bytes[number]);
}

}  // namespace kdn::test
