// Learns a profile from chunks that are stored: reads them back, one at a time, into memory of its
// own. Engines' memory is not touched, and chunks that several ranks hold the parts of are whole.
//
// Thread-safety: not safe; caller synchronises. Add() blocks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "client/core/interrupt.h"
#include "client/core/model.h"
#include "codec/profile.h"
#include "codec/profile_learner.h"
#include "kdn/client.h"

namespace kdn::client {

// A chunk's values of all layers and heads, in plain memory: one block of each group.
class ChunkMemory {
 public:
  ChunkMemory(const ModelSpec& spec, std::uint32_t chunk_tokens);
  ChunkMemory(const ChunkMemory&) = delete;
  ChunkMemory& operator=(const ChunkMemory&) = delete;

  [[nodiscard]] codec::PagedKv kv() const { return {pools_}; }
  // Block tables by which every chunk of a chain, up to number `chunk`, is the one in here.
  [[nodiscard]] codec::BlockTables BlocksUpTo(std::size_t chunk);

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::vector<std::byte*>> bases_;
  std::vector<codec::KvPool> pools_;
  std::vector<std::uint32_t> table_;
  std::vector<std::span<const std::uint32_t>> tables_;
};

class ProfileStudy {
 public:
  // kResourceExhausted if it would take more than `memory_bytes_max`; else as ProfileLearner::Make.
  static Result<std::unique_ptr<ProfileStudy>> Make(const Model& model, std::uint32_t chunk_tokens,
                                                    const codec::LearnOptions& options,
                                                    std::size_t memory_bytes_max);

  // Learns from one chunk of what was found, its first `tokens_max` tokens at most. kUnavailable:
  // it could not be read.
  Status Add(Client& client, LookupResult found, std::size_t chunk, Interrupt& interrupt,
             std::uint64_t tokens_max = UINT64_MAX);

  [[nodiscard]] std::uint64_t tokens() const { return learner_.tokens(); }
  [[nodiscard]] Result<codec::Profile> Learn() const;

 private:
  ProfileStudy(const Model& model, std::uint32_t chunk_tokens, codec::LearnOptions options,
               codec::ProfileLearner learner);

  const Model& model_;
  const std::uint32_t chunk_tokens_;
  const codec::LearnOptions options_;
  codec::ProfileLearner learner_;
  ChunkMemory memory_;
};

}  // namespace kdn::client
