// A stand-in for an engine's memory: one KV group of bf16 values in paged pools, with values that
// depend on nothing but a seed. It computes nothing; where real values matter, use client/llama.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/paged_kv.h"
#include "kdn/client.h"

namespace kdn::test {

struct EngineShape {
  std::uint16_t layers = 4;
  std::uint16_t kv_heads = 4;
  std::uint16_t head_size = 32;
  std::uint32_t block_tokens = 16;
  std::uint32_t block_count = 80;
};

[[nodiscard]] ModelSpec SpecOf(const EngineShape& shape);

// `count` token ids that depend on `seed` only.
[[nodiscard]] std::vector<client::TokenId> TokensOf(std::uint64_t seed, std::size_t count);

class TestEngine {
 public:
  explicit TestEngine(const EngineShape& shape);

  // Memory that holds only these heads and layers, as a parallel rank's does.
  TestEngine(const EngineShape& shape, Range layers, Range heads);
  TestEngine(const TestEngine&) = delete;
  TestEngine& operator=(const TestEngine&) = delete;

  // Values for (layer, head, token, dim) that a seed decides; near-Gaussian, so that they compress.
  void Fill(std::uint64_t seed);
  // A pattern that Fill() never writes.
  void Poison();

  [[nodiscard]] const codec::PagedKv& kv() const { return kv_; }
  [[nodiscard]] const codec::BlockTables& blocks() const { return blocks_; }

  // Whether both hold the same bits for tokens [0, count) in all layers and heads that this one
  // has.
  [[nodiscard]] bool SameAs(const TestEngine& other, std::size_t count) const;
  [[nodiscard]] bool AllPoison() const;

 private:
  [[nodiscard]] std::size_t IndexOf(std::uint32_t plane, std::uint32_t layer, std::uint32_t head,
                                    std::size_t token) const;

  EngineShape shape_;
  Range layers_;
  Range heads_;
  std::vector<std::uint16_t> values_;
  std::vector<std::uint32_t> table_;
  std::vector<std::byte*> bases_[2];
  std::vector<codec::KvPool> pools_;
  std::vector<std::span<const std::uint32_t>> tables_;
  codec::PagedKv kv_;
  codec::BlockTables blocks_;
};

}  // namespace kdn::test
