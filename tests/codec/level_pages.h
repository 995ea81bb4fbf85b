// Objects of several levels, opened, and memory of one block for a chunk of one KV group in bf16.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "proto/object/object.h"

namespace kdn::codec {

// Tiles of one place, draft first.
struct Place {
  std::vector<TileBytes> tiles;
};
struct Opened {
  ObjectHeader header;
  std::vector<Place> places;
};

inline Opened Open(ConstBytes object) {
  Opened opened;
  opened.header = DecodeHeader(object).value();
  std::size_t at = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    if (!opened.header.levels_encoded.Has(info.level)) continue;
    const ConstBytes segment = object.subspan(at);
    const SegmentIndex index = DecodeIndex(segment, TagOf(opened.header)).value();
    opened.places.resize(index.tiles.size());
    for (std::size_t i = 0; i < index.tiles.size(); ++i) {
      const TileEntry& entry = index.tiles[i];
      const ConstBytes bytes = segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes);
      EXPECT_TRUE(VerifyTile(TagOf(opened.header), entry, bytes));
      opened.places[i].tiles.push_back({entry, bytes});
    }
    at += index.IndexBytes() + index.TileBytes();
  }
  EXPECT_EQ(at, object.size());
  return opened;
}

inline float Bf16At(const std::byte* at) {
  std::uint16_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return std::bit_cast<float>(std::uint32_t{word} << 16);
}

// A pool that holds one chunk of recorded shape in one block, its values in value order.
class Page {
 public:
  Page(const ModelSpec& spec, std::uint32_t tokens) : spec_(spec) {
    const KvGroup& group = spec.groups[0];
    const std::size_t head = std::size_t{group.k_head_size} * tokens * 2;
    pool_ = {.planes = {},
             .block_tokens = tokens,
             .block_count = 1,
             .first_head = 0,
             .head_count = group.kv_heads};
    for (std::size_t p = 0; p < 2; ++p) {
      memory_[p].assign(group.layers.size() * group.kv_heads * head, std::byte{0xA5});
      for (std::size_t l = 0; l < group.layers.size(); ++l) {
        bases_[p].push_back(memory_[p].data() + l * group.kv_heads * head);
      }
      pool_.planes[p] = {.base = bases_[p],
                         .block_stride = 0,
                         .slot_stride = 2 * std::ptrdiff_t{group.k_head_size},
                         .head_stride = static_cast<std::ptrdiff_t>(head),
                         .dim_stride = 2};
    }
  }
  [[nodiscard]] PagedKv kv() const { return PagedKv{{&pool_, 1}}; }
  [[nodiscard]] BlockTables tables() const { return BlockTables{{&table_, 1}}; }
  std::vector<std::byte>& plane(std::size_t p) { return memory_[p]; }

 private:
  const ModelSpec& spec_;
  std::vector<std::byte> memory_[2];
  std::vector<std::byte*> bases_[2];
  KvPool pool_;
  std::uint32_t block_ = 0;
  std::span<const std::uint32_t> table_{&block_, 1};
};

}  // namespace kdn::codec
