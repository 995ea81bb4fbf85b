// An engine's KV memory for tests, in any layout that engines use, and the plain reading of its
// address map that the codec is checked against.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

// A layout is the order of its axes, outermost first: N block, L layer, P plane, S slot, H head, D
// dim. Without L each layer has a tensor of its own, without P each plane. "PD" at the end: the
// dims of one plane follow those of the other, which may differ in size.
struct MemoryShape {
  std::string_view axes = "NSHD";
  std::uint32_t block_tokens = 16;
  std::uint32_t block_count = 8;
  std::uint16_t first_head = 0;   // the heads that are held
  std::uint16_t head_count = 0;   // 0: all
  std::vector<bool> layers = {};  // of the group, those that are held; empty: all
};

// One KV group's pool and the tensors behind it.
class GroupMemory {
 public:
  GroupMemory(const ModelSpec& spec, const KvGroup& group, const MemoryShape& shape);
  GroupMemory(GroupMemory&&) = default;

  [[nodiscard]] const KvPool& pool() const { return pool_; }
  [[nodiscard]] bool Holds(std::size_t layer, std::uint32_t head) const;
  // Where one value lies. Requires: Holds().
  [[nodiscard]] std::byte* At(std::size_t plane, std::size_t layer, std::uint32_t head,
                              std::uint32_t block, std::uint32_t slot, std::uint32_t dim);
  // All bytes, to compare and to copy.
  std::vector<std::vector<std::byte>>& tensors() { return tensors_; }

 private:
  std::vector<std::vector<std::byte>> tensors_;
  std::vector<std::byte*> bases_[2];
  KvPool pool_;
};

// All groups of a model.
class TestMemory {
 public:
  // One shape per KV group. Contents are poison: pseudo-random bytes.
  TestMemory(const ModelSpec& spec, const std::vector<MemoryShape>& shapes);

  [[nodiscard]] PagedKv kv() const { return PagedKv{pools_}; }
  GroupMemory& group(std::size_t g) { return groups_[g]; }
  [[nodiscard]] std::size_t group_count() const { return groups_.size(); }
  [[nodiscard]] std::vector<std::vector<std::byte>> Snapshot();

 private:
  std::vector<GroupMemory> groups_;
  std::vector<KvPool> pools_;
};

// Block tables in random order, long enough for the place's tokens.
class TestTables {
 public:
  TestTables(const std::vector<MemoryShape>& shapes, const ChunkPlace& place, std::uint64_t seed);
  [[nodiscard]] BlockTables tables() const { return BlockTables{spans_}; }
  [[nodiscard]] const std::vector<std::uint32_t>& of(std::size_t g) const { return tables_[g]; }

 private:
  std::vector<std::vector<std::uint32_t>> tables_;
  std::vector<std::span<const std::uint32_t>> spans_;
};

// The values of a chunk in the order [layer][head][token][dim], by group and plane.
class TestChunk {
 public:
  // The values of one plane of one group, [layer][head][token][dim].
  using MakePlane = std::function<std::vector<std::byte>(const KvGroup& group, std::size_t plane)>;
  TestChunk(const ModelSpec& spec, std::uint32_t tokens, const MakePlane& make);
  // Gaussian values.
  TestChunk(const ModelSpec& spec, std::uint32_t tokens, std::uint64_t seed);
  [[nodiscard]] const std::byte* At(std::size_t group, std::size_t plane, std::size_t layer,
                                    std::uint32_t head, std::uint32_t token) const;

  // Writes the first `place.token_count` tokens value by value, wherever `memory` holds them, for
  // the layers and heads of `part`.
  void WriteTo(TestMemory& memory, const TestTables& tables, const ChunkPlace& place,
               const PartShape& part) const;

 private:
  const ModelSpec& spec_;
  std::uint32_t tokens_;
  std::map<std::pair<std::size_t, std::size_t>, std::vector<std::byte>> values_;
};

[[nodiscard]] std::uint16_t HeadSize(const KvGroup& group, std::size_t plane);
[[nodiscard]] std::size_t PlaneCount(const KvGroup& group);

}  // namespace kdn::codec
