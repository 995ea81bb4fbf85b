// An engine's description of its paged memory, copied so that it may go away while a load or store
// is under way. The memory itself is the engine's.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "codec/paged_kv.h"
#include "proto/object/header.h"

namespace kdn::client {

class KvCopy {
 public:
  // kInvalidArgument says what does not fit: as many pools as KV groups, block tables long enough
  // for `token_count` tokens, block ids inside the pool.
  static Result<std::unique_ptr<const KvCopy>> Make(const ModelSpec& spec, const codec::PagedKv& kv,
                                                    const codec::BlockTables& blocks,
                                                    std::uint64_t token_count);
  KvCopy(const KvCopy&) = delete;
  KvCopy& operator=(const KvCopy&) = delete;

  [[nodiscard]] const codec::PagedKv& kv() const { return kv_; }
  [[nodiscard]] const codec::BlockTables& blocks() const { return blocks_; }

  // Whether this memory holds the layer, and which heads of it.
  [[nodiscard]] bool HoldsLayer(std::uint32_t layer) const { return holds_layer_[layer]; }
  [[nodiscard]] Range HeadsOf(std::uint32_t layer) const { return heads_[layer]; }
  // The smallest range with all layers that are held; empty if none is.
  [[nodiscard]] Range layers() const { return layers_; }
  // The smallest range with all heads of all layers that are held.
  [[nodiscard]] Range kv_heads() const { return all_heads_; }

 private:
  KvCopy() = default;
  Status CopyPool(const ModelSpec& spec, std::size_t group, const codec::KvPool& pool);
  Status CopyTable(const codec::KvPool& pool, std::span<const std::uint32_t> table,
                   std::uint64_t token_count);

  std::vector<std::vector<std::byte*>> bases_;
  std::vector<codec::KvPool> pools_;
  std::vector<std::vector<std::uint32_t>> tables_;
  std::vector<std::span<const std::uint32_t>> table_views_;
  std::vector<bool> holds_layer_;
  std::vector<Range> heads_;
  Range layers_;
  Range all_heads_;
  codec::PagedKv kv_;
  codec::BlockTables blocks_;
};

}  // namespace kdn::client
