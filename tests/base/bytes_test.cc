#include "base/bytes.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace kdn {
namespace {

enum class Colour : std::uint16_t { kRed = 0x0102 };

std::vector<std::byte> Made(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(ByteWriter, LaysIntegersOutLittleEndian) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Integer(std::uint8_t{0xAB});
  out.Integer(std::uint16_t{0x1234});
  out.Integer(Colour::kRed);
  out.Integer(std::uint32_t{0xDEADBEEF});
  out.Integer(std::uint64_t{0x0102030405060708});
  EXPECT_EQ(bytes,
            Made({0xAB, 0x34, 0x12, 0x02, 0x01, 0xEF, 0xBE, 0xAD, 0xDE, 8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(ByteWriter, AppendsToWhatIsThere) {
  std::vector<std::byte> bytes = Made({9});
  ByteWriter out(bytes);
  out.Zeros(2);
  out.Sized(AsBytes("hi"));
  EXPECT_EQ(bytes, Made({9, 0, 0, 2, 0, 0, 0, 'h', 'i'}));
  EXPECT_EQ(out.size(), 9U);
}

TEST(ByteReader, ReadsWhatTheWriterWrote) {
  PutId id;
  id.bytes[3] = std::byte{77};
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Integer(Colour::kRed);
  out.Integer(~std::uint64_t{0});
  out.Id(id);
  out.Sized(AsBytes("text"));
  out.Zeros(3);
  ByteReader in(bytes);
  EXPECT_EQ(in.Integer<Colour>(), Colour::kRed);
  EXPECT_EQ(in.Integer<std::uint64_t>(), ~std::uint64_t{0});
  EXPECT_EQ(in.OpaqueId<PutId>(), id);
  EXPECT_EQ(AsText(in.Sized(4)), "text");
  EXPECT_FALSE(in.AtEnd());
  in.Zeros(3);
  EXPECT_TRUE(in.AtEnd());
}

TEST(ByteReader, ReadPastTheEndYieldsZerosAndFailsForGood) {
  const std::vector<std::byte> bytes = Made({1, 2, 3});
  ByteReader in(bytes);
  EXPECT_EQ(in.Integer<std::uint32_t>(), 0U);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.Integer<std::uint8_t>(), 0U) << "though a byte would have been there";
  EXPECT_TRUE(in.OpaqueId<PutId>().IsZero());
  EXPECT_TRUE(in.Bytes(0).empty());
  EXPECT_FALSE(in.AtEnd());
}

TEST(ByteReader, SizedRefusesALengthBeyondItsLimitOrTheInput) {
  const std::vector<std::byte> bytes = Made({3, 0, 0, 0, 1, 2, 3});
  ByteReader within_limit(bytes);
  EXPECT_EQ(within_limit.Sized(3).size(), 3U);
  ByteReader beyond_limit(bytes);
  EXPECT_TRUE(beyond_limit.Sized(2).empty());
  EXPECT_FALSE(beyond_limit.ok());
  ByteReader beyond_input(ConstBytes(bytes).first(6));
  EXPECT_TRUE(beyond_input.Sized(3).empty());
  EXPECT_FALSE(beyond_input.ok());
}

TEST(ByteReader, ZerosRefusesAnythingElse) {
  for (int at = 0; at < 3; ++at) {
    std::vector<std::byte> bytes(3);
    bytes[static_cast<std::size_t>(at)] = std::byte{0x80};
    ByteReader in(bytes);
    in.Zeros(3);
    EXPECT_FALSE(in.ok()) << at;
  }
}

TEST(ByteReader, RestIsWhatHasNotBeenRead) {
  const std::vector<std::byte> bytes = Made({1, 2, 3});
  ByteReader in(bytes);
  EXPECT_EQ(in.Integer<std::uint8_t>(), 1U);
  EXPECT_EQ(in.rest().data(), bytes.data() + 1);
  EXPECT_EQ(in.rest().size(), 2U);
}

}  // namespace
}  // namespace kdn
