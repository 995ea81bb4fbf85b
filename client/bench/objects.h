// What kdn-bench stores: objects of a chosen size or of a model's chunk geometry, filled with
// values that follow from their number, so that every byte that comes back can be told right or
// wrong.
//
// Thread-safety: values; Pages is not safe, each client has its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "client/bench/draw.h"
#include "codec/paged_kv.h"
#include "kdn/client.h"

namespace kdn::bench {

// How objects lie in an engine's memory: regions (a layer's k, v or state) of rows (one token
// each).
struct ObjectShape {
  ModelSpec spec;
  client::ModelOptions tiles;
  std::uint32_t chunk_tokens = 0;
  std::size_t row_bytes = 0;
  std::uint32_t regions = 0;
  bool gaussian = false;  // bf16 values that compress like a KV cache; else bytes that do not

  [[nodiscard]] std::size_t token_bytes() const { return row_bytes * regions; }
  [[nodiscard]] std::size_t chunk_bytes() const { return token_bytes() * chunk_tokens; }
  // Tokens of an object of at least so many bytes.
  [[nodiscard]] std::uint32_t TokensFor(std::size_t size_bytes) const;
};

inline constexpr std::size_t kObjectBytesLeast = 4096;
inline constexpr std::size_t kObjectBytesMost = std::size_t{64} << 20;

// One model whose chunks hold the largest of these sizes; smaller objects are chunks that are not
// full. Sizes are rounded up to whole tokens, 256 bytes or 1/1024 of the largest size.
// kInvalidArgument for sizes out of bounds.
[[nodiscard]] Result<ObjectShape> ShapeOfSizes(const Sizes& sizes);
// "LAYERSxKV_HEADSxHEAD_SIZE", as 32x8x128 for Llama-3.1-8B: k and v in bf16.
[[nodiscard]] Result<ObjectShape> ShapeOfGeometry(std::string_view text,
                                                  std::uint32_t chunk_tokens);

// Paged memory for a few chunks, a block each.
class Pages {
 public:
  Pages(const ObjectShape& shape, std::uint32_t chunks);
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] codec::PagedKv kv() const { return {{&pool_, 1}}; }
  [[nodiscard]] codec::BlockTables blocks() const { return {{&table_view_, 1}}; }
  // The first `tokens` rows of a region of a chunk.
  [[nodiscard]] MutableBytes Region(std::uint32_t chunk, std::uint32_t region,
                                    std::uint32_t tokens);

 private:
  const std::size_t row_bytes_;
  const std::size_t block_bytes_;
  const std::uint32_t chunks_;
  std::vector<std::byte> bytes_;
  std::vector<std::byte*> bases_[2];
  std::vector<std::uint32_t> table_;
  std::span<const std::uint32_t> table_view_;
  codec::KvPool pool_;
};

// The values of objects: stretches of a pool of random values, which stretch follows from the
// object's identity and the place within it.
class Pattern {
 public:
  Pattern(std::uint64_t seed, bool gaussian);

  void Fill(std::uint64_t object, std::uint32_t region, MutableBytes out) const;
  [[nodiscard]] bool Matches(std::uint64_t object, std::uint32_t region, ConstBytes got) const;
  // For values that came back at a lossy level: the root of their mean square error, relative to
  // the values' own. 1.41 for values of another object.
  [[nodiscard]] double Error(std::uint64_t object, std::uint32_t region, ConstBytes got) const;

 private:
  [[nodiscard]] ConstBytes Stretch(std::uint64_t object, std::uint32_t region,
                                   std::size_t stretch) const;
  std::vector<std::byte> pool_;
};

}  // namespace kdn::bench
