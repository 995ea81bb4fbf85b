// Goal: a key is a function of everything that determines a chunk's values, and of nothing else.
// The known answers were computed with Python's hmac and integers from the formulas in
// proto/object/chunk_key.h.
#include "proto/object/chunk_key.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "proto/object/model_spec.h"

namespace kdn {
namespace {

std::vector<std::byte> Secret(std::size_t size_bytes = 32) {
  std::vector<std::byte> secret(size_bytes);
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(i);
  return secret;
}

std::vector<std::byte> ToBytes(std::string_view text) {
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

ChainIdentity Identity(std::string_view extras = "lora") {
  ChainIdentity identity;
  identity.model.bytes.fill(std::byte{7});
  identity.extras = ToBytes(extras);
  return identity;
}

std::vector<TokenId> Tokens(std::size_t count, TokenId first = 1000) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::vector<TokenId> RandomTokens(std::size_t count) {
  SeededRandom random(1);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.Next());
  return tokens;
}

TEST(ChunkKey, OfAPrefixChainIsTheKnownAnswer) {
  const auto keys = ChunkHasher(Secret(), Identity()).ChainOf(Tokens(6), 4, true);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(ToHex(keys[0]), "48ac88f1146127b990f30145ca66e9f9e230aef248d8b5e0da2fc5aef0e36af4");
  EXPECT_EQ(ToHex(keys[1]), "ff53824efb04c52556c1c47cdce570ee51911e3b457e803952a943527b57cce7");
}

TEST(ChunkKey, OfAFreeChainIsTheKnownAnswer) {
  ChainIdentity identity = Identity("");
  identity.kind = ChainKind::kFree;
  EXPECT_EQ(ToHex(ChunkHasher(Secret(), identity).KeyOf({}, Tokens(4))),
            "c9eeffb941f74eb3495674f6fcf7fded8903456b05063037b3cb5533541749fe");
}

TEST(ChunkKey, DependsOnEveryField) {
  ChunkKey parent;
  parent.bytes[31] = std::byte{1};
  ChainIdentity kind = Identity();
  kind.kind = ChainKind::kFree;
  ChainIdentity model = Identity();
  model.model.bytes[31] ^= std::byte{1};
  std::vector<TokenId> last_token = Tokens(4);
  last_token.back() ^= 0x80000000U;
  const std::set<ChunkKey> keys = {
      ChunkHasher(Secret(), Identity()).KeyOf({}, Tokens(4)),
      ChunkHasher(Secret(31), Identity()).KeyOf({}, Tokens(4)),
      ChunkHasher(Secret(), kind).KeyOf({}, Tokens(4)),
      ChunkHasher(Secret(), Identity()).KeyOf(parent, Tokens(4)),
      ChunkHasher(Secret(), model).KeyOf({}, Tokens(4)),
      ChunkHasher(Secret(), Identity("LORA")).KeyOf({}, Tokens(4)),
      ChunkHasher(Secret(), Identity()).KeyOf({}, last_token),
      ChunkHasher(Secret(), Identity()).KeyOf({}, Tokens(3)),
      ChunkHasher(Secret(), Identity()).KeyOf({}, {}),
  };
  EXPECT_EQ(keys.size(), 9U);
}

TEST(ChunkKey, BytesThatMoveBetweenFieldsMakeAnotherKey) {
  const std::vector<TokenId> tokens = {0x61616161, 0x62626262};
  EXPECT_FALSE(ChunkHasher(Secret(), Identity("")).KeyOf({}, tokens) ==
               ChunkHasher(Secret(), Identity("aaaa")).KeyOf({}, std::span(tokens).last(1)));
}

TEST(ChainOf, IsKeyOfOneAfterTheOther) {
  const ChunkHasher hasher(Secret(), Identity());
  const std::vector<TokenId> tokens = RandomTokens(10);
  std::vector<ChunkKey> want;
  ChunkKey parent;
  for (std::size_t i = 0; i < 10; i += 4) {
    parent = hasher.KeyOf(parent, std::span(tokens).subspan(i, std::min<std::size_t>(4, 10 - i)));
    want.push_back(parent);
  }
  EXPECT_EQ(hasher.ChainOf(tokens, 4, /*with_partial=*/true), want);
  want.pop_back();
  EXPECT_EQ(hasher.ChainOf(tokens, 4, /*with_partial=*/false), want);
}

TEST(ChainOf, SharesKeysExactlyAsFarAsTheTokensAgree) {
  const ChunkHasher hasher(Secret(), Identity());
  std::vector<TokenId> other = Tokens(32);
  other[17] += 1;
  const auto a = hasher.ChainOf(Tokens(32), 4, false);
  const auto b = hasher.ChainOf(other, 4, false);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i] == b[i], i < 4) << i;
}

TEST(ChainOf, WholeChunksHaveNoPartialOne) {
  const ChunkHasher hasher(Secret(), Identity());
  EXPECT_EQ(hasher.ChainOf(Tokens(8), 4, true), hasher.ChainOf(Tokens(8), 4, false));
  EXPECT_TRUE(hasher.ChainOf({}, 4, true).empty());
}

TEST(MatchHash, IsTheKnownAnswer) {
  std::vector<TokenId> tokens(32);
  for (std::uint32_t i = 0; i < 32; ++i) tokens[i] = i * 1000003U;
  EXPECT_EQ(ChunkHasher(Secret(), Identity()).MatchHashOf(tokens), MatchHash{0x168699f9deccb3a7});
}

TEST(MatchHash, RollsToTheSameValueAtEveryOffset) {
  const ChunkHasher hasher(Secret(), Identity());
  const std::vector<TokenId> prompt = RandomTokens(500);
  const std::vector<MatchHash> hashes = hasher.MatchHashesIn(prompt);
  ASSERT_EQ(hashes.size(), prompt.size() - ChunkHasher::kMatchTokens + 1);
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    EXPECT_EQ(hashes[i], hasher.MatchHashOf(std::span(prompt).subspan(i))) << i;
  }
}

TEST(MatchHash, DependsOnTheFirstTokensTheSecretAndTheModelOnly) {
  const ChunkHasher hasher(Secret(), Identity());
  const std::vector<TokenId> tokens = RandomTokens(64);
  EXPECT_EQ(hasher.MatchHashOf(tokens), hasher.MatchHashOf(std::span(tokens).first(32)));
  EXPECT_NE(hasher.MatchHashOf(tokens), hasher.MatchHashOf(std::span(tokens).subspan(1)));
  EXPECT_NE(hasher.MatchHashOf(tokens), ChunkHasher(Secret(31), Identity()).MatchHashOf(tokens));
  EXPECT_NE(hasher.MatchHashOf(tokens),
            ChunkHasher(Secret(), Identity("other")).MatchHashOf(tokens));
}

TEST(MatchHash, TooFewTokensHaveNone) {
  const ChunkHasher hasher(Secret(), Identity());
  EXPECT_EQ(hasher.MatchHashOf(Tokens(31)), MatchHash{0});
  EXPECT_TRUE(hasher.MatchHashesIn(Tokens(31)).empty());
}

TEST(ShardOfKey, SpreadsKeysEvenly) {
  SeededRandom random(2);
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) ++counts[ShardOfKey(RandomId<ChunkKey>(random), 7)];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(ShardOfKey, IsTheLastFourBytesAsAShareOfTheShards) {
  ChunkKey key;
  EXPECT_EQ(ShardOfKey(key, 4), 0U);
  key.bytes[31] = std::byte{0x40};
  EXPECT_EQ(ShardOfKey(key, 4), 1U);
  for (std::size_t i = 28; i < 32; ++i) key.bytes[i] = std::byte{0xFF};
  EXPECT_EQ(ShardOfKey(key, 4), 3U);
  EXPECT_EQ(ShardOfKey(key, 1), 0U);
}

TEST(Fingerprint, IsTheDigestOfTheCanonicalEncoding) {
  ModelSpec spec;
  spec.name = "a";
  const ModelFingerprint fingerprint = FingerprintOf(spec);
  EXPECT_EQ(fingerprint.bytes, Sha256(EncodeModelSpec(spec)));
  spec.revision = "b";
  EXPECT_FALSE(fingerprint == FingerprintOf(spec));
}

}  // namespace
}  // namespace kdn
