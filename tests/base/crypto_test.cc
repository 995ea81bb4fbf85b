// Goal: SHA-256 and HMAC-SHA-256 are what the standards say. Vectors of FIPS 180-4 and RFC 4231.
#include "base/crypto.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kdn {
namespace {

std::string Hex(const Digest& digest) {
  ChunkKey id;
  id.bytes = digest;
  return ToHex(id);
}

std::string Repeated(char c, std::size_t count) {
  return std::string(count, c);
}

TEST(Sha256, IsTheKnownAnswer) {
  EXPECT_EQ(Hex(Sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256(AsBytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Hex(Sha256(AsBytes(Repeated('a', 1000000)))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

struct HmacCase {
  std::string secret;
  std::string data;
  std::string digest;
};

std::vector<HmacCase> HmacCases() {
  std::string counting;
  for (char c = 1; c <= 25; ++c) counting.push_back(c);
  return {
      {Repeated('\x0b', 20), "Hi There",
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {"Jefe", "what do ya want for nothing?",
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {Repeated('\xaa', 20), Repeated('\xdd', 50),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {counting, Repeated('\xcd', 50),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {Repeated('\xaa', 131), "Test Using Larger Than Block-Size Key - Hash Key First",
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {Repeated('\xaa', 131),
       "This is a test using a larger than block-size key and a larger than block-size data. The "
       "key needs to be hashed before being used by the HMAC algorithm.",
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
}

TEST(HmacSha256, IsTheKnownAnswer) {
  for (const HmacCase& test : HmacCases()) {
    EXPECT_EQ(Hex(HmacSha256(AsBytes(test.secret), AsBytes(test.data))), test.digest);
  }
}

TEST(HmacKey, SignsManyMessagesWithOneSecret) {
  for (const HmacCase& test : HmacCases()) {
    const HmacKey key(AsBytes(test.secret));
    EXPECT_FALSE(key.Sign(AsBytes("another message")) == key.Sign(AsBytes(test.data)));
    EXPECT_EQ(Hex(key.Sign(AsBytes(test.data))), test.digest);
  }
}

TEST(EqualInConstantTime, ComparesSizesAndBytes) {
  EXPECT_TRUE(EqualInConstantTime(AsBytes("same"), AsBytes("same")));
  EXPECT_FALSE(EqualInConstantTime(AsBytes("same"), AsBytes("sane")));
  EXPECT_FALSE(EqualInConstantTime(AsBytes("same"), AsBytes("sam")));
  EXPECT_TRUE(EqualInConstantTime({}, {}));
}

}  // namespace
}  // namespace kdn
