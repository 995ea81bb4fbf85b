#include "client/llama/paged_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace kdn::llama {
namespace {

constexpr std::uint32_t kBlockTokensMax = 256;
constexpr std::uint32_t kBlockCountMax = 1 << 24;
constexpr std::size_t kCacheBytesMax = std::size_t{1} << 40;
constexpr std::uint16_t kNanBf16 = 0x7FC0;
constexpr std::uint32_t kNanFp32 = 0x7FC00000;

template <class Bits>
void Fill(MutableBytes memory, Bits bits) {
  for (std::size_t i = 0; i + sizeof(bits) <= memory.size(); i += sizeof(bits)) {
    std::memcpy(memory.data() + i, &bits, sizeof(bits));
  }
}

}  // namespace

Result<PagedCache> PagedCache::Make(const LlamaConfig& config, const PagedCacheOptions& options) {
  if (options.dtype != DType::kBf16 && options.dtype != DType::kFp32) {
    return Error(Code::kUnimplemented, "the executor holds KV in bf16 or fp32");
  }
  if (options.block_tokens == 0 || options.block_tokens > kBlockTokensMax) {
    return Error(Code::kInvalidArgument, "block_tokens must be 1 to 256");
  }
  if (options.block_count == 0 || options.block_count > kBlockCountMax) {
    return Error(Code::kInvalidArgument, "block_count must be 1 to 2^24");
  }
  const std::size_t block_values =
      std::size_t{2} * config.kv_width() * config.layers * options.block_tokens;
  const std::size_t value_bytes = options.dtype == DType::kBf16 ? 2 : 4;
  if (block_values * value_bytes > kCacheBytesMax / options.block_count) {
    return Error(Code::kInvalidArgument, "the cache would be over 1 TiB");
  }
  return PagedCache(config, options, block_values * value_bytes * options.block_count);
}

PagedCache::PagedCache(const LlamaConfig& config, const PagedCacheOptions& options,
                       std::size_t size_bytes)
    : options_(options),
      layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_size_(config.head_size),
      size_bytes_(size_bytes),
      memory_(static_cast<std::byte*>(::operator new(size_bytes, kBufferAlignment))) {
  std::memset(memory_.get(), 0, size_bytes_);
  const std::ptrdiff_t value = options_.dtype == DType::kBf16 ? 2 : 4;
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(head_size_) * value;
  const std::ptrdiff_t heads = kv_heads_;
  const std::ptrdiff_t slots = options_.block_tokens;
  const bool nhd = options_.layout == KvLayout::kNhd;
  const std::size_t plane_bytes = size_bytes_ / (2 * static_cast<std::size_t>(layers_));
  codec::KvPool pool;
  for (std::size_t plane = 0; plane < 2; ++plane) {
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      bases_[plane].push_back(memory_.get() + (2 * layer + plane) * plane_bytes);
    }
    pool.planes[plane] = {.base = bases_[plane],
                          .block_stride = row * heads * slots,
                          .slot_stride = nhd ? row * heads : row,
                          .head_stride = nhd ? row : row * slots,
                          .dim_stride = value};
  }
  pool.block_tokens = options_.block_tokens;
  pool.block_count = options_.block_count;
  pool.head_count = static_cast<std::uint16_t>(kv_heads_);
  pools_.push_back(pool);
  for (std::uint32_t block = options_.block_count; block > 0; --block) {
    free_blocks_.push_back(block - 1);
  }
}

Status PagedCache::Grow(BlockTable& table, std::size_t token_count) {
  const std::size_t wanted = (token_count + options_.block_tokens - 1) / options_.block_tokens;
  const std::size_t had = table.blocks_.size();
  if (wanted <= had) return {};
  if (wanted - had > free_blocks_.size()) {
    return {Code::kResourceExhausted, "the paged cache has " + std::to_string(free_blocks_.size()) +
                                          " free blocks, wanted " + std::to_string(wanted - had)};
  }
  for (std::size_t i = had; i < wanted; ++i) {
    table.blocks_.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
  return {};
}

void PagedCache::Release(BlockTable& table) {
  free_blocks_.insert(free_blocks_.end(), table.blocks_.rbegin(), table.blocks_.rend());
  table.blocks_.clear();
}

void PagedCache::Poison() {
  if (options_.dtype == DType::kBf16) {
    Fill(memory(), kNanBf16);
  } else {
    Fill(memory(), kNanFp32);
  }
}

}  // namespace kdn::llama
