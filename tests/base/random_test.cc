#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace kdn {
namespace {

TEST(SeededRandom, IsSplitMix64) {
  // First numbers of the published reference implementation for seed 1234567.
  SeededRandom random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317U);
  EXPECT_EQ(random.Next(), 3203168211198807973U);
  EXPECT_EQ(random.Next(), 9817491932198370423U);
}

TEST(SeededRandom, FillsWithTheSameBytesForTheSameSeed) {
  std::vector<std::byte> a(37);
  std::vector<std::byte> b(37);
  SeededRandom(7).Fill(a);
  SeededRandom(7).Fill(b);
  EXPECT_EQ(a, b);
  SeededRandom(8).Fill(b);
  EXPECT_NE(a, b);
}

TEST(SystemRandom, DrawsNoIdTwice) {
  SystemRandom random;
  EXPECT_NE(RandomId<PutId>(random), RandomId<PutId>(random));
}

TEST(SystemRandom, FillsLargeBuffersToTheirEnd) {
  SystemRandom random;
  std::vector<std::byte> bytes(1 << 20);
  random.Fill(bytes);
  const std::vector<std::byte> zeros(64);
  EXPECT_FALSE(std::equal(zeros.begin(), zeros.end(), bytes.end() - 64));
}

TEST(MakePutId, BeginsWithTheEpochLittleEndian) {
  SeededRandom random(1);
  const PutId id = MakePutId(Epoch{0x01020304}, random);
  EXPECT_EQ(ToHex(id).substr(0, 8), "04030201");
  EXPECT_NE(id, MakePutId(Epoch{0x01020304}, random));
}

}  // namespace
}  // namespace kdn
