#include "base/ids.h"

#include <gtest/gtest.h>

#include <string>
#include <unordered_set>

namespace kdn {
namespace {

TEST(OpaqueId, SurvivesItsHexadecimalForm) {
  PutId id;
  for (std::size_t i = 0; i < PutId::kSize; ++i) id.bytes[i] = static_cast<std::byte>(17 * i);
  EXPECT_EQ(ToHex(id), "00112233445566778899aabbccddeeff");
  PutId read;
  EXPECT_TRUE(FromHex(ToHex(id), read));
  EXPECT_EQ(read, id);
}

TEST(OpaqueId, AnythingButItsHexadecimalFormLeavesItUnchanged) {
  const std::string good = "00112233445566778899aabbccddeeff";
  for (std::string bad : {good + "0", good.substr(1), good + "00", std::string()}) {
    PutId id;
    EXPECT_FALSE(FromHex(bad, id)) << bad;
  }
  for (const char c : {'A', 'g', ' ', '/', ':', '`', '\0'}) {
    std::string bad = good;
    bad[31] = c;
    PutId id;
    EXPECT_FALSE(FromHex(bad, id)) << bad;
    EXPECT_TRUE(id.IsZero());
  }
}

TEST(OpaqueId, ComparesAsBytes) {
  PutId low;
  PutId high;
  low.bytes[15] = std::byte{0xFF};
  high.bytes[0] = std::byte{0x80};
  EXPECT_LT(low, high);
  EXPECT_NE(low, high);
  EXPECT_TRUE(PutId().IsZero());
  EXPECT_FALSE(low.IsZero());
}

TEST(OpaqueId, IsAKeyOfHashTables) {
  std::unordered_set<ChunkKey, IdHash> keys;
  ChunkKey key;
  keys.insert(key);
  key.bytes[31] = std::byte{1};
  keys.insert(key);
  keys.insert(key);
  EXPECT_EQ(keys.size(), 2U);
}

}  // namespace
}  // namespace kdn
