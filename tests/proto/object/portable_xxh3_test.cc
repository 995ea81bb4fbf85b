// Goal: builds with and without xxHash's library give the same checksums. Method: every length at
// which the algorithm takes another path, and around it, against the library.
#include "proto/object/portable_xxh3.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "proto/object/checksum_stream.h"

namespace kdn {
namespace {

TEST(PortableXxh3, GivesWhatTheLibraryGives) {
  std::vector<std::byte> bytes(20'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * i / 7 + i);
  for (std::size_t size = 0; size <= bytes.size(); size += size < 2'200 ? 1 : 997) {
    const ConstBytes some = ConstBytes(bytes).first(size);
    ASSERT_EQ(PortableXxh3(some), ChecksumOf(some)) << size << " bytes";
  }
}

// Runs of every length, and none at all between them.
TEST(ChecksumStream, GivesTheChecksumOfAllThatWasAdded) {
  std::vector<std::byte> bytes(70'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * i / 7 + i);
  ChecksumStream sum;
  EXPECT_EQ(sum.Sum(), ChecksumOf({}));
  for (const std::size_t step : {1U, 63U, 64U, 65U, 255U, 257U, 1023U, 4096U, 65'537U}) {
    sum.Reset();
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      sum.Add(ConstBytes(bytes).subspan(at, std::min(step, bytes.size() - at)));
      sum.Add({});
    }
    ASSERT_EQ(sum.Sum(), ChecksumOf(bytes)) << "in steps of " << step;
    sum.Add(ConstBytes(bytes).first(1));
    EXPECT_NE(sum.Sum(), ChecksumOf(bytes));
  }
}

// So that a build without the library tests something, too.
TEST(PortableXxh3, GivesTheSpecifiedHashOfNothing) {
  Checksum want;
  const unsigned char bytes[] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                 0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
  for (std::size_t i = 0; i < Checksum::kSize; ++i)
    want.bytes[i] = static_cast<std::byte>(bytes[i]);
  EXPECT_EQ(PortableXxh3({}), want);
}

}  // namespace
}  // namespace kdn
