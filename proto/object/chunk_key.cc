#include "proto/object/chunk_key.h"

#include <algorithm>
#include <bit>

namespace kdn {
namespace {

// The match hash is computed modulo the Mersenne prime 2^61 - 1.
constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;

__extension__ using Wide = unsigned __int128;

std::uint64_t Reduce(std::uint64_t value) {
  const std::uint64_t folded = (value & kPrime) + (value >> 61);
  return folded >= kPrime ? folded - kPrime : folded;
}

std::uint64_t Multiply(std::uint64_t a, std::uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return Reduce((static_cast<std::uint64_t>(product) & kPrime) +
                static_cast<std::uint64_t>(product >> 61));
}

// The polynomial's next value: one token more at its end. Counting tokens from 1 keeps token 0
// apart from no token.
std::uint64_t Append(std::uint64_t hash, std::uint64_t base, TokenId token) {
  return Reduce(Multiply(hash, base) + token + 1);
}

// 0 is taken: it means that there is no match hash.
MatchHash Finish(std::uint64_t hash, std::uint64_t tweak) {
  return static_cast<MatchHash>(Reduce(hash + tweak) + 1);
}

// A message of the key's HMAC. `message` is reused between calls.
void WriteMessage(const ChainIdentity& identity, const ChunkKey& parent,
                  std::span<const TokenId> tokens, std::vector<std::byte>& message) {
  message.clear();
  ByteWriter out(message);
  const std::byte kind{static_cast<std::uint8_t>(identity.kind)};
  out.Sized({&kind, 1});
  out.Sized(parent.IsZero() ? ConstBytes() : ConstBytes(parent.bytes));
  out.Sized(identity.model.bytes);
  out.Sized(identity.extras);
  static_assert(std::endian::native == std::endian::little);  // Else write token by token.
  out.Sized(std::as_bytes(tokens));
}

}  // namespace

ChunkHasher::ChunkHasher(ConstBytes secret, ChainIdentity identity)
    : key_(secret), identity_(std::move(identity)) {
  // The label keeps these bytes apart from every chunk key: a key's message begins with a length 1.
  std::vector<std::byte> message;
  ByteWriter out(message);
  out.Sized(AsBytes("kdn match hash 1"));
  out.Sized(identity_.model.bytes);
  out.Sized(identity_.extras);
  const Digest digest = key_.Sign(message);
  ByteReader in(digest);
  // A base of 0 or 1 would make a sum of the hash.
  match_base_ = std::max<std::uint64_t>(Reduce(in.Integer<std::uint64_t>()), 2);
  match_tweak_ = Reduce(in.Integer<std::uint64_t>());
}

ChunkKey ChunkHasher::KeyOf(const ChunkKey& parent, std::span<const TokenId> tokens) const {
  std::vector<std::byte> message;
  WriteMessage(identity_, parent, tokens, message);
  ChunkKey key;
  key.bytes = key_.Sign(message);
  return key;
}

std::vector<ChunkKey> ChunkHasher::ChainOf(std::span<const TokenId> tokens,
                                           std::uint32_t chunk_tokens, bool with_partial) const {
  std::vector<ChunkKey> keys;
  keys.reserve(tokens.size() / chunk_tokens + 1);
  std::vector<std::byte> message;
  ChunkKey parent;
  while (tokens.size() >= chunk_tokens || (with_partial && !tokens.empty())) {
    const std::size_t count = std::min<std::size_t>(tokens.size(), chunk_tokens);
    WriteMessage(identity_, parent, tokens.first(count), message);
    parent.bytes = key_.Sign(message);
    keys.push_back(parent);
    tokens = tokens.subspan(count);
  }
  return keys;
}

MatchHash ChunkHasher::MatchHashOf(std::span<const TokenId> tokens) const {
  if (tokens.size() < kMatchTokens) return MatchHash{};
  std::uint64_t hash = 0;
  for (const TokenId token : tokens.first(kMatchTokens)) hash = Append(hash, match_base_, token);
  return Finish(hash, match_tweak_);
}

std::vector<MatchHash> ChunkHasher::MatchHashesIn(std::span<const TokenId> prompt) const {
  std::vector<MatchHash> hashes;
  if (prompt.size() < kMatchTokens) return hashes;
  hashes.reserve(prompt.size() - kMatchTokens + 1);
  // What the token that leaves the window has been multiplied with by then.
  std::uint64_t leaving = 1;
  for (std::size_t i = 0; i < kMatchTokens; ++i) leaving = Multiply(leaving, match_base_);
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    hash = Append(hash, match_base_, prompt[i]);
    if (i >= kMatchTokens) {
      const std::uint64_t gone = Multiply(leaving, std::uint64_t{prompt[i - kMatchTokens]} + 1);
      hash = Reduce(hash + kPrime - gone);
    }
    if (i + 1 >= kMatchTokens) hashes.push_back(Finish(hash, match_tweak_));
  }
  return hashes;
}

std::uint32_t ShardOfKey(const ChunkKey& key, std::uint32_t shard_count) {
  // The last bytes: hash tables within a shard use the first ones (IdHash).
  ByteReader in(ConstBytes(key.bytes).last(sizeof(std::uint32_t)));
  return static_cast<std::uint32_t>((std::uint64_t{in.Integer<std::uint32_t>()} * shard_count) >>
                                    32);
}

}  // namespace kdn
