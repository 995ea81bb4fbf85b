#include "tests/bench/level_chunks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "codec/kernels/float_bits.h"
#include "proto/object/object.h"

namespace kdn::bench {

using codec::CodecScratch;
using codec::ObjectCodec;
using codec::TileBytes;

std::uint16_t ToBf16(float value) {
  return codec::Bf16Number::FromFloat(value);
}
float FromBf16(std::uint16_t word) {
  return codec::Bf16Number::ToFloat(word);
}

void Fail(const char* what, const Status& status) {
  std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  std::exit(2);
}

ChunkMemory::ChunkMemory(const ModelSpec& spec, std::uint32_t tokens)
    : spec_(spec), tokens_(tokens) {
  const KvGroup& group = spec.groups[0];
  pool_ = {.planes = {},
           .block_tokens = tokens,
           .block_count = 1,
           .first_head = 0,
           .head_count = group.kv_heads};
  for (std::size_t p = 0; p < 2; ++p) {
    const std::size_t head = std::size_t{HeadSize(p)} * tokens;
    words_[p].resize(group.layers.size() * group.kv_heads * head);
    for (std::size_t l = 0; l < group.layers.size(); ++l) {
      bases_[p].push_back(
          reinterpret_cast<std::byte*>(words_[p].data() + l * group.kv_heads * head));
    }
    pool_.planes[p] = {.base = bases_[p],
                       .block_stride = 0,
                       .slot_stride = 2 * std::ptrdiff_t{HeadSize(p)},
                       .head_stride = 2 * static_cast<std::ptrdiff_t>(head),
                       .dim_stride = 2};
  }
}

std::uint32_t ChunkMemory::HeadSize(std::size_t plane) const {
  return plane == 0 ? spec_.groups[0].k_head_size : spec_.groups[0].v_head_size;
}

std::unique_ptr<ChunkMemory> PartOf(const ChunkMemory& from, std::uint32_t first,
                                    std::uint32_t tokens) {
  auto part = std::make_unique<ChunkMemory>(from.spec(), tokens);
  for (std::size_t p = 0; p < 2; ++p) {
    const std::size_t size = from.HeadSize(p);
    for (std::size_t s = 0; s < from.plane(p).size() / size / from.tokens(); ++s) {
      std::ranges::copy(from.plane(p).subspan((s * from.tokens() + first) * size, tokens * size),
                        part->plane(p).data() + s * tokens * size);
    }
  }
  return part;
}

double LevelObject::BytesOf(std::size_t levels) const {
  double total = kObjectHeaderBytes;
  for (std::size_t l = 0; l < levels; ++l) total += static_cast<double>(header.level_bytes[l]);
  return total;
}

double LevelObject::BitsOf(std::size_t levels) const {
  return 8.0 * BytesOf(levels) / static_cast<double>(values);
}

std::vector<std::vector<TileBytes>> LevelObject::Places(std::size_t levels) const {
  std::vector<std::vector<TileBytes>> places;
  std::size_t at = kObjectHeaderBytes;
  for (std::size_t l = 0; l < levels; ++l) {
    const ConstBytes segment = ConstBytes(bytes).subspan(at);
    const SegmentIndex index = DecodeIndex(segment, TagOf(header)).value();
    places.resize(index.tiles.size());
    for (std::size_t i = 0; i < index.tiles.size(); ++i) {
      const TileEntry& entry = index.tiles[i];
      places[i].push_back(
          {entry, segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes)});
    }
    at += index.IndexBytes() + index.TileBytes();
  }
  return places;
}

LevelObject EncodeLevels(const ChunkMemory& chunk, std::uint64_t first_position,
                         const codec::Profile* profile, std::size_t levels,
                         std::uint16_t tile_layers) {
  const KvGroup& group = chunk.spec().groups[0];
  ObjectHeader header;
  header.key.bytes[0] = std::byte{1};
  header.levels_encoded = LevelSet(static_cast<std::uint8_t>((1U << levels) - 1));
  header.token_count = chunk.tokens();
  header.first_position = first_position;
  header.part.layers = {0, static_cast<std::uint16_t>(group.layers.size())};
  header.part.kv_heads = {0, group.kv_heads};
  header.layers_per_group = tile_layers;
  header.heads_per_group = group.kv_heads;
  if (profile != nullptr) header.profile = profile->id();
  LevelObject object;
  object.profile = profile;
  object.values = chunk.values();
  CodecScratch scratch;
  const Status status = ObjectCodec::Make(chunk.spec())
                            .value()
                            .Encode(header, chunk.kv(), chunk.tables(), chunk.place(), profile,
                                    object.bytes, scratch);
  if (!status.ok()) Fail("encode", status);
  object.header = DecodeHeader(object.bytes).value();
  return object;
}

void DecodeLevels(const LevelObject& object, std::size_t levels, ChunkMemory& out) {
  const ObjectCodec codec = ObjectCodec::Make(out.spec()).value();
  CodecScratch scratch;
  for (const auto& tiles : object.Places(levels)) {
    const Status status = codec.DecodeTile(object.header, tiles, out.kv(), out.tables(),
                                           out.place(), object.profile, scratch);
    if (!status.ok()) Fail("decode", status);
  }
}

}  // namespace kdn::bench
