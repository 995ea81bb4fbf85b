// Chunks of one KV group in bf16, in memory of one block, and what becomes of them at each level:
// what the benches of size and error code.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "codec/profile.h"
#include "proto/object/header.h"
#include "proto/object/model_spec.h"

namespace kdn::bench {

// Nearest, ties to even. Requires: finite values.
[[nodiscard]] std::uint16_t ToBf16(float value);
[[nodiscard]] float FromBf16(std::uint16_t word);

// The values of `tokens` tokens, plane by plane as the codec orders them:
// [layer][head][token][dim].
class ChunkMemory {
 public:
  // Borrows the spec, of one group in bf16.
  ChunkMemory(const ModelSpec& spec, std::uint32_t tokens);
  ChunkMemory(const ChunkMemory&) = delete;

  [[nodiscard]] codec::PagedKv kv() const { return {{&pool_, 1}}; }
  [[nodiscard]] codec::BlockTables tables() const { return {{&table_, 1}}; }
  [[nodiscard]] codec::ChunkPlace place() const { return {0, tokens_}; }
  [[nodiscard]] std::uint32_t tokens() const { return tokens_; }
  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] std::uint32_t HeadSize(std::size_t plane) const;
  [[nodiscard]] std::size_t values() const { return words_[0].size() + words_[1].size(); }
  [[nodiscard]] std::span<std::uint16_t> plane(std::size_t p) { return words_[p]; }
  [[nodiscard]] std::span<const std::uint16_t> plane(std::size_t p) const { return words_[p]; }

 private:
  const ModelSpec& spec_;
  std::uint32_t tokens_;
  std::array<std::vector<std::uint16_t>, 2> words_;
  std::array<std::vector<std::byte*>, 2> bases_;
  codec::KvPool pool_;
  std::uint32_t block_ = 0;
  std::span<const std::uint32_t> table_{&block_, 1};
};

// A copy of some consecutive tokens. Borrows the same spec.
[[nodiscard]] std::unique_ptr<ChunkMemory> PartOf(const ChunkMemory& from, std::uint32_t first,
                                                  std::uint32_t tokens);

// An object that borrows the profile it was coded with.
struct LevelObject {
  std::vector<std::byte> bytes;
  ObjectHeader header;
  const codec::Profile* profile = nullptr;
  std::size_t values = 0;

  // Header, indices and tiles of the first `levels` levels.
  [[nodiscard]] double BytesOf(std::size_t levels) const;
  [[nodiscard]] double BitsOf(std::size_t levels) const;  // a value
  // One segment's tiles after the other, in the order of places. Requires: levels <= those coded.
  [[nodiscard]] std::vector<std::vector<codec::TileBytes>> Places(std::size_t levels) const;
};

// Codes draft and the `levels` - 1 levels after it, `tile_layers` layers and all heads a tile. A
// failure ends the program: benches code what can be coded.
[[nodiscard]] LevelObject EncodeLevels(const ChunkMemory& chunk, std::uint64_t first_position,
                                       const codec::Profile* profile, std::size_t levels,
                                       std::uint16_t tile_layers = 1);
// Requires: `out` of the same shape.
void DecodeLevels(const LevelObject& object, std::size_t levels, ChunkMemory& out);

// Ends the program, saying why.
[[noreturn]] void Fail(const char* what, const Status& status);

}  // namespace kdn::bench
