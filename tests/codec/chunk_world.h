// A chunk of any model in paged memory, coded to objects and decoded from them as a client does.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/codec_scratch.h"
#include "codec/object_codec.h"
#include "codec/profile.h"
#include "tests/codec/paged_memory.h"

namespace kdn::codec {

// The tiles of one place, coarsest level first.
using PlaceTiles = std::vector<TileBytes>;

struct OpenedObject {
  ObjectHeader header;
  std::vector<PlaceTiles> places;  // as many levels each as the object has
};
// Verifies all of an object, which may have been cut after a segment. Borrows its bytes.
[[nodiscard]] Result<OpenedObject> OpenObject(ConstBytes object);

class ChunkWorld {
 public:
  using Memories = std::vector<std::vector<std::byte>>;

  // The values of a plane as MakeRows() gives them, keys with biases of up to `k_bias` and then
  // turned to their positions.
  ChunkWorld(const ModelSpec& spec, std::uint32_t tokens, float k_bias = 1.0F);

  // All four levels, two layers and one head a tile, the profile's id set if there is one. Tests
  // change it before they encode.
  ObjectHeader header;

  [[nodiscard]] Result<std::vector<std::byte>> Encode(const Profile* profile,
                                                      std::string_view kernels = {});
  // Tiles of some places, `levels` of each, into memory that is poison, which is returned.
  [[nodiscard]] Result<Memories> Decode(const OpenedObject& object, std::size_t levels,
                                        const Profile* profile, std::int64_t moved = 0,
                                        std::string_view kernels = {});
  // Memory that has the values and poison elsewhere; and that has poison alone.
  [[nodiscard]] const Memories& original() const { return original_; }
  [[nodiscard]] const Memories& poison() const { return poison_; }
  // Root of the mean square of how far one plane's values are off, all layers and groups together.
  [[nodiscard]] double ErrorOf(const Memories& memory, std::size_t plane) const;

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] ChunkPlace place() const { return {.first_token = 3, .token_count = tokens_}; }
  // Memory that has the values, for those who learn from it.
  [[nodiscard]] PagedKv kv() const { return memory_.kv(); }
  [[nodiscard]] BlockTables tables() const { return tables_.tables(); }

 private:
  const ModelSpec spec_;
  std::uint32_t tokens_;
  std::vector<MemoryShape> shapes_;
  TestMemory memory_;
  TestTables tables_;
  Memories poison_;
  Memories original_;
  CodecScratch scratch_;
};

}  // namespace kdn::codec
