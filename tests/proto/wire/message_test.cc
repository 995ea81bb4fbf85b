// What holds for every data-plane message alike. The property behind all of it: Decode() accepts
// exactly the bytes that Encode() writes.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "proto/wire/overload.h"
#include "proto/wire/put.h"
#include "proto/wire/read.h"
#include "tests/proto/wire/message_cases.h"

namespace kdn::test {
namespace {

using wire::Buffer;

class EveryMessage : public testing::TestWithParam<MessageCase> {};

Buffer ReadGolden(std::string_view name) {
  std::ifstream file(std::string(KDN_GOLDEN_DIR) + "/" + std::string(name) + ".bin",
                     std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

TEST_P(EveryMessage, EncodesToItsGoldenBytes) {
  EXPECT_EQ(GetParam().sample(), ReadGolden(GetParam().name));
}

TEST_P(EveryMessage, ComesBackFromItsBytes) {
  const Buffer bytes = GetParam().sample();
  EXPECT_EQ(GetParam().reencode(bytes), bytes);
}

TEST_P(EveryMessage, IsRefusedWhereverItIsCut) {
  const Buffer bytes = GetParam().sample();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Buffer cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(GetParam().reencode(cut), std::nullopt) << "cut to " << size;
  }
}

TEST_P(EveryMessage, IsRefusedWithBytesBehindIt) {
  Buffer bytes = GetParam().sample();
  bytes.push_back(std::byte{0});
  EXPECT_EQ(GetParam().reencode(bytes), std::nullopt);
}

TEST_P(EveryMessage, WithAnyByteChangedIsRefusedOrMeansExactlyThoseBytes) {
  Buffer bytes = GetParam().sample();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const std::byte original = bytes[at];
    for (const unsigned value : {0x00U, 0x01U, 0x7FU, 0x80U, 0xFFU}) {
      bytes[at] = static_cast<std::byte>(value);
      const std::optional<Buffer> again = GetParam().reencode(bytes);
      if (again) {
        EXPECT_EQ(*again, bytes) << "byte " << at << " = " << value;
      }
    }
    bytes[at] = original;
  }
}

TEST_P(EveryMessage, GarbageIsRefusedOrMeansExactlyThoseBytes) {
  SeededRandom random(1);
  for (int round = 0; round < 500; ++round) {
    Buffer bytes(random.Next() % 400);
    random.Fill(bytes);
    if (const std::optional<Buffer> again = GetParam().reencode(bytes)) {
      EXPECT_EQ(*again, bytes);
    }
  }
}

class EveryRequest : public testing::TestWithParam<MessageCase> {};

TEST_P(EveryRequest, OfAnotherTypeIsRefused) {
  Buffer bytes = GetParam().sample();
  bytes[0] ^= std::byte{0x40};
  EXPECT_EQ(GetParam().reencode(bytes), std::nullopt);
}

TEST_P(EveryMessage, FitsItsLimitOnTheWire) {
  EXPECT_LE(GetParam().sample().size(), limits::kRequestBytesMax);
}

INSTANTIATE_TEST_SUITE_P(Wire, EveryMessage, testing::ValuesIn(MessageCases()),
                         [](const auto& one) { return std::string(one.param.name); });

std::vector<MessageCase> Requests() {
  std::vector<MessageCase> requests;
  std::ranges::copy_if(MessageCases(), std::back_inserter(requests), &MessageCase::has_head);
  return requests;
}

INSTANTIATE_TEST_SUITE_P(Wire, EveryRequest, testing::ValuesIn(Requests()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(RequestHead, IsReadWithoutTheRest) {
  Buffer bytes = FindMessageCase("lookup_request").sample();
  bytes.resize(wire::kRequestHeadBytes);
  const auto head = wire::PeekHead(bytes);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->type, wire::MessageType::kLookup);
  EXPECT_FALSE(head->trace.IsZero());
}

TEST(RequestHead, CarriesItsPriorityOrThatOfItsType) {
  wire::ReadRequest read;
  Buffer bytes;
  read.Encode(bytes);
  EXPECT_EQ(wire::PriorityOf(*wire::PeekHead(bytes)), wire::Priority::kLoad);
  read.head.priority = wire::Priority::kPrefetch;
  bytes.clear();
  read.Encode(bytes);
  EXPECT_EQ(wire::PriorityOf(*wire::PeekHead(bytes)), wire::Priority::kPrefetch);
  EXPECT_EQ(wire::ReadRequest::Decode(bytes)->head.priority, wire::Priority::kPrefetch);
  bytes[4] = std::byte{wire::kPriorityCount};
  EXPECT_EQ(wire::PeekHead(bytes).error().code(), Code::kInvalidArgument);

  bytes.clear();
  wire::PutPieceRequest{}.Encode(bytes);
  EXPECT_EQ(wire::PriorityOf(*wire::PeekHead(bytes)), wire::Priority::kPut);
}

TEST(Overload, MaySilenceACallerForALimitedTimeOnly) {
  wire::Overload overload;
  overload.retry_after = std::chrono::hours(1);
  Buffer bytes;
  overload.Encode(bytes);
  EXPECT_EQ(wire::Overload::Decode(bytes)->retry_after, wire::kRetryAfterMax);
  bytes[7] = std::byte{1};
  EXPECT_EQ(wire::Overload::Decode(bytes).error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(wire::Overload::Decode({}));
}

TEST(RequestHead, OfANewerPeerIsUnimplementedNotInvalid) {
  Buffer unknown_type = FindMessageCase("lookup_request").sample();
  unknown_type[1] = std::byte{0x77};
  EXPECT_EQ(wire::PeekHead(unknown_type).error().code(), Code::kUnimplemented);
  Buffer unknown_version = FindMessageCase("lookup_request").sample();
  unknown_version[2] = std::byte{3};
  EXPECT_EQ(wire::PeekHead(unknown_version).error().code(), Code::kUnimplemented);
}

TEST(RequestHead, TooShortIsInvalid) {
  Buffer bytes = FindMessageCase("lookup_request").sample();
  bytes.resize(wire::kRequestHeadBytes - 1);
  EXPECT_EQ(wire::PeekHead(bytes).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn::test
