// The executor's KV cache: one piece of memory, cut into blocks of a few tokens that sequences
// borrow, as serving engines do it. Others see it through codec::PagedKv only.
//
// Thread-safety: not safe; caller synchronises. Different slots may be written by different
// threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "client/llama/aligned.h"
#include "client/llama/config.h"
#include "codec/paged_kv.h"

namespace kdn::llama {

// Of one layer's memory, outermost first: K and V, then blocks.
enum class KvLayout : std::uint8_t {
  kNhd = 0,  // [2, blocks, slots, heads, head size], as vLLM's FlashAttention
  kHnd = 1,  // [2, blocks, heads, slots, head size], as FlashInfer
};

struct PagedCacheOptions {
  std::uint32_t block_count = 0;
  std::uint32_t block_tokens = 16;  // 1 to 256
  KvLayout layout = KvLayout::kNhd;
  DType dtype = DType::kBf16;  // or kFp32
};

// The blocks of one sequence, in token order.
class BlockTable {
 public:
  BlockTable() = default;
  explicit BlockTable(std::vector<std::uint32_t> blocks) : blocks_(std::move(blocks)) {}
  BlockTable(BlockTable&&) = default;
  BlockTable& operator=(BlockTable&&) = default;

  [[nodiscard]] std::span<const std::uint32_t> blocks() const { return blocks_; }
  // As a KDN client takes it; valid until the table grows, is released or moves.
  [[nodiscard]] codec::BlockTables view() {
    tables_[0] = blocks_;
    return {tables_};
  }

 private:
  friend class PagedCache;
  std::vector<std::uint32_t> blocks_;
  std::array<std::span<const std::uint32_t>, 1> tables_;
};

class PagedCache {
 public:
  // Zeroed memory for block_count blocks of the model's layers. kInvalidArgument for options out of
  // bounds, kUnimplemented for a dtype that the executor does not hold KV in.
  static Result<PagedCache> Make(const LlamaConfig& config, const PagedCacheOptions& options);

  // Gives `table` blocks until it covers token_count tokens. kResourceExhausted, with the table as
  // it was, if there are not so many.
  Status Grow(BlockTable& table, std::size_t token_count);
  // Takes back the table's blocks, which leaves it empty. The memory keeps its values.
  void Release(BlockTable& table);
  [[nodiscard]] std::size_t free_block_count() const { return free_blocks_.size(); }

  // The cache as any engine shows it to a KDN client; valid as long as the cache is not moved.
  [[nodiscard]] codec::PagedKv view() const { return {pools_}; }
  // All of it in one piece, to be registered with a transport.
  [[nodiscard]] MutableBytes memory() { return {memory_.get(), size_bytes_}; }

  // Makes every value NaN: what is read before it was written shows in every logit.
  void Poison();

  // Where the values of one token's head begin; head_size of them follow. Requires: all in range.
  [[nodiscard]] std::byte* Values(std::uint32_t layer, Plane plane, std::uint32_t head,
                                  std::uint32_t block, std::uint32_t slot) const {
    const codec::PlaneMap& map = pools_[0].planes[static_cast<std::size_t>(plane)];
    return map.base[layer] + static_cast<std::ptrdiff_t>(block) * map.block_stride +
           static_cast<std::ptrdiff_t>(slot) * map.slot_stride +
           static_cast<std::ptrdiff_t>(head) * map.head_stride;
  }

  [[nodiscard]] const PagedCacheOptions& options() const { return options_; }
  [[nodiscard]] std::uint32_t layers() const { return layers_; }
  [[nodiscard]] std::uint32_t kv_heads() const { return kv_heads_; }
  [[nodiscard]] std::uint32_t head_size() const { return head_size_; }

 private:
  PagedCache(const LlamaConfig& config, const PagedCacheOptions& options, std::size_t size_bytes);

  PagedCacheOptions options_;
  std::uint32_t layers_;
  std::uint32_t kv_heads_;
  std::uint32_t head_size_;
  std::size_t size_bytes_;
  std::unique_ptr<std::byte, AlignedDelete> memory_;
  std::array<std::vector<std::byte*>, 2> bases_;  // by plane, then layer
  std::vector<codec::KvPool> pools_;              // one; borrows bases_
  std::vector<std::uint32_t> free_blocks_;        // taken from the back
};

}  // namespace kdn::llama
