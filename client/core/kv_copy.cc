#include "client/core/kv_copy.h"

#include <algorithm>
#include <string>
#include <utility>

namespace kdn::client {
namespace {

Status Refuse(std::string message) {
  return Status(Code::kInvalidArgument, std::move(message));
}

// The smallest range that contains both; an empty one counts for nothing.
Range Hull(const Range& a, const Range& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const std::uint32_t first = std::min(a.first, b.first);
  const std::uint32_t end = std::max(a.end(), b.end());
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - first)};
}

}  // namespace

Status KvCopy::CopyPool(const ModelSpec& spec, std::size_t group_index, const codec::KvPool& pool) {
  const KvGroup& group = spec.groups[group_index];
  if (pool.block_tokens == 0) return Refuse("a pool's block_tokens is 0");
  const std::uint32_t head_end = std::uint32_t{pool.first_head} + pool.head_count;
  if (head_end > group.kv_heads) {
    return Refuse("pool " + std::to_string(group_index) + " names KV head " +
                  std::to_string(head_end - 1) + ", its group has " +
                  std::to_string(group.kv_heads));
  }
  codec::KvPool copy = pool;
  const std::size_t plane_count = group.attention == AttentionKind::kState ? 1 : 2;
  for (std::size_t p = 0; p < plane_count; ++p) {
    const auto base = pool.planes[p].base;
    if (base.size() != group.layers.size()) {
      return Refuse("a plane map needs one base per layer of its group");
    }
    bases_.emplace_back(base.begin(), base.end());
    copy.planes[p].base = bases_.back();
  }
  for (std::size_t i = 0; i < group.layers.size(); ++i) {
    const bool held = copy.planes[0].base[i] != nullptr;
    if (plane_count == 2 && held != (copy.planes[1].base[i] != nullptr)) {
      return Refuse("a layer has a base in one plane only");
    }
    if (!held || pool.head_count == 0) continue;
    const std::uint16_t layer = group.layers[i];
    holds_layer_[layer] = true;
    heads_[layer] = {pool.first_head, pool.head_count};
    layers_ = Hull(layers_, {layer, 1});
    all_heads_ = Hull(all_heads_, heads_[layer]);
  }
  pools_.push_back(copy);
  return {};
}

Status KvCopy::CopyTable(const codec::KvPool& pool, std::span<const std::uint32_t> table,
                         std::uint64_t token_count) {
  const std::uint64_t needed = (token_count + pool.block_tokens - 1) / pool.block_tokens;
  if (table.size() < needed) {
    return Refuse("a block table has " + std::to_string(table.size()) + " blocks, " +
                  std::to_string(needed) + " are needed");
  }
  tables_.emplace_back(table.begin(), table.begin() + static_cast<std::ptrdiff_t>(needed));
  for (const std::uint32_t block : tables_.back()) {
    if (block >= pool.block_count) {
      return Refuse("block " + std::to_string(block) + " is not in its pool of " +
                    std::to_string(pool.block_count));
    }
  }
  return {};
}

Result<std::unique_ptr<const KvCopy>> KvCopy::Make(const ModelSpec& spec, const codec::PagedKv& kv,
                                                   const codec::BlockTables& blocks,
                                                   std::uint64_t token_count) {
  if (kv.pools.size() != spec.groups.size() || blocks.tables.size() != spec.groups.size()) {
    return Error(Code::kInvalidArgument, "one pool and one block table per KV group are needed");
  }
  std::unique_ptr<KvCopy> copy(new KvCopy);
  copy->holds_layer_.resize(LayerCount(spec));
  copy->heads_.resize(LayerCount(spec));
  for (std::size_t g = 0; g < spec.groups.size(); ++g) {
    if (Status s = copy->CopyPool(spec, g, kv.pools[g]); !s.ok()) return std::unexpected(s);
    if (Status s = copy->CopyTable(kv.pools[g], blocks.tables[g], token_count); !s.ok()) {
      return std::unexpected(s);
    }
  }
  for (const auto& table : copy->tables_) copy->table_views_.emplace_back(table);
  copy->kv_.pools = copy->pools_;
  copy->blocks_.tables = copy->table_views_;
  return std::unique_ptr<const KvCopy>(std::move(copy));
}

}  // namespace kdn::client
