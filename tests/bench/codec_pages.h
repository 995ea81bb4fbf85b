// What the codec's benches code: chunks of Llama-3.1-8B's shape in an engine's pages.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <thread>
#include <vector>

#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "tests/codec/values.h"

namespace kdn::bench {

using codec::BlockTables;
using codec::KvPool;
using codec::PagedKv;

inline constexpr std::uint32_t kChunkTokens = 256;
inline constexpr std::uint32_t kBlockTokens = 16;

// Some chunks of Llama-3.1-8B's shape and an engine's pages for them: per layer [block, K|V, slot,
// head, dim], as vLLM with FlashInfer lays them out.
class Pages {
 public:
  explicit Pages(const ModelSpec& spec, std::uint32_t chunks = 1) : group_(spec.groups[0]) {
    const std::uint32_t block_count = chunks * (kChunkTokens / kBlockTokens);
    const std::size_t row = 2 * std::size_t{group_.kv_heads} * group_.k_head_size;
    const std::size_t plane = kBlockTokens * row;
    const std::size_t layer = 2 * plane * block_count;
    // Engines' pages begin at cache lines; a vector's bytes need not.
    bytes_.resize(layer * group_.layers.size() + kLine);
    front_ = bytes_.data() + (kLine - reinterpret_cast<std::uintptr_t>(bytes_.data()) % kLine);
    for (std::size_t p = 0; p < 2; ++p) {
      for (std::size_t l = 0; l < group_.layers.size(); ++l) {
        bases_[p].push_back(front_ + l * layer + p * plane);
      }
      pool_.planes[p] = {.base = bases_[p],
                         .block_stride = static_cast<std::ptrdiff_t>(2 * plane),
                         .slot_stride = static_cast<std::ptrdiff_t>(row),
                         .head_stride = 2 * std::ptrdiff_t{group_.k_head_size},
                         .dim_stride = 2};
    }
    pool_.block_tokens = kBlockTokens;
    pool_.block_count = block_count;
    pool_.head_count = group_.kv_heads;
    // Blocks in no order, as an allocator leaves them.
    for (std::uint32_t b = 0; b < block_count; ++b) table_.push_back(b / 16 * 16 + b * 7 % 16);
    table_span_ = table_;
  }
  Pages(const Pages&) = delete;

  [[nodiscard]] PagedKv kv() const { return {{&pool_, 1}}; }
  [[nodiscard]] BlockTables blocks() const { return {{&table_span_, 1}}; }
  std::span<std::byte> bytes() { return std::span(front_, bytes_.size() - kLine); }

 private:
  static constexpr std::size_t kLine = 64;
  const KvGroup& group_;
  std::vector<std::byte> bytes_;
  std::byte* front_ = nullptr;
  std::vector<std::byte*> bases_[2];
  KvPool pool_;
  std::vector<std::uint32_t> table_;
  std::span<const std::uint32_t> table_span_;
};

inline ModelSpec LlamaSpec() {
  ModelSpec spec;
  spec.name = "shape of Llama-3.1-8B";
  KvGroup group;
  for (std::uint16_t l = 0; l < 32; ++l) group.layers.push_back(l);
  group.kv_heads = 8;
  group.k_head_size = group.v_head_size = 128;
  spec.groups.push_back(group);
  return spec;
}

// Seconds of the fastest of `runs` runs of work(thread) on `threads` threads at once.
inline double BestSeconds(int runs, int threads, const std::function<void(int)>& work) {
  double best = 1e9;
  for (int run = 0; run < runs; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (std::thread& other : others) other.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

// The same numbers everywhere: Gaussian, one kind a seed.
inline void FillWithGaussian(std::span<std::byte> bytes, int seed) {
  const auto values = codec::MakeValues(DType::kBf16, codec::Pattern::kGaussian, 1 << 20,
                                        static_cast<std::uint64_t>(seed));
  for (std::size_t at = 0; at < bytes.size(); at += values.size()) {
    std::memcpy(&bytes[at], values.data(), std::min(values.size(), bytes.size() - at));
  }
}

}  // namespace kdn::bench
