// Identity: the 256-bit keyed hash over everything that determines a chunk's values.
//
//   key = HMAC-SHA-256(secret, kind ‖ parent ‖ fingerprint ‖ extras ‖ tokens)
//
// each field preceded by its length in bytes (4 bytes, little-endian); kind is one byte, 0 for
// prefix chunks and 1 for free chains; parent has 32 bytes, or none at a chain's start; tokens are
// 4 bytes each. The secret is the tenant's: without it nobody can tell whether a text is cached.
//
// Thread-safety: pure functions; a ChunkHasher is immutable after construction.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/crypto.h"
#include "base/ids.h"

namespace kdn {

using TokenId = std::uint32_t;

enum class ChainKind : std::uint8_t {
  kPrefix = 0,  // the first chunk stands at position 0
  kFree = 1,    // prefilled with nothing before it; may stand at any position
};

// What else changes the values: LoRA adapter, hashes of images behind placeholder tokens, cache
// salt. Opaque here; docs/format.md says how the client lays it out.
struct ChainIdentity {
  ChainKind kind = ChainKind::kPrefix;
  ModelFingerprint model;
  std::vector<std::byte> extras;
};

class ChunkHasher {
 public:
  // `secret` is a tenant's chunk secret; any length, 32 random bytes by custom.
  ChunkHasher(ConstBytes secret, ChainIdentity identity);

  // The key of the chunk that holds `tokens` and follows `parent` (zero: begins the chain).
  [[nodiscard]] ChunkKey KeyOf(const ChunkKey& parent, std::span<const TokenId> tokens) const;

  // Keys of the consecutive chunks of `chunk_tokens` tokens. A last, partial chunk gets a key too
  // if `with_partial`. Requires: chunk_tokens > 0.
  [[nodiscard]] std::vector<ChunkKey> ChainOf(std::span<const TokenId> tokens,
                                              std::uint32_t chunk_tokens, bool with_partial) const;

  // By which a free chain is found at any offset: a keyed polynomial hash modulo 2^61 - 1 of its
  // first kMatchTokens tokens, so that a client can roll it over a prompt. 0 if there are fewer.
  static constexpr std::size_t kMatchTokens = 32;
  [[nodiscard]] MatchHash MatchHashOf(std::span<const TokenId> tokens) const;
  // At i: MatchHashOf() of the tokens from i on; one element per window of kMatchTokens. Rolls, so
  // it costs a few operations per token.
  [[nodiscard]] std::vector<MatchHash> MatchHashesIn(std::span<const TokenId> prompt) const;

 private:
  HmacKey key_;
  ChainIdentity identity_;
  std::uint64_t match_base_;
  std::uint64_t match_tweak_;
};

// Which shard of a node a key belongs to: the same everywhere, since clients choose the connection
// by it. Keys are uniformly distributed, so it is the key's last four bytes (little-endian) as a
// share of 2^32, times the count. Requires: shard_count > 0.
[[nodiscard]] std::uint32_t ShardOfKey(const ChunkKey& key, std::uint32_t shard_count);

}  // namespace kdn
