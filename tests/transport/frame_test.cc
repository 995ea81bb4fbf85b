// Goal: frames mean the same bytes forever, and nothing that is malformed comes through.
// Method: golden bytes of each type, then every single bit of them flipped, then fields beyond
// their limits under a checksum that is right.
#include "transport/frame.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/transport/golden_cases.h"

namespace kdn::transport::test {
namespace {

std::vector<std::byte> FileBytes(const std::string& name) {
  std::ifstream file(KDN_GOLDEN_FOLDER "/frame/" + name + ".bin", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

std::optional<FrameHeader> SealedAndOpened(const FrameHeader& header) {
  FrameBytes bytes;
  Seal(header, {}, bytes);
  return OpenFrame(bytes);
}

TEST(Frame, BytesAreThoseOfTheGoldenFiles) {
  for (const GoldenCase& golden : GoldenFrameHeaders()) {
    EXPECT_EQ(golden.bytes, FileBytes(golden.name)) << golden.name;
  }
}

TEST(Frame, GoldenFilesReadAsWhatWasSealed) {
  const std::vector<FrameHeader> headers = GoldenFrames();
  const std::vector<GoldenCase> cases = GoldenFrameHeaders();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::optional<FrameHeader> header = OpenFrame(FileBytes(cases[i].name));
    ASSERT_TRUE(header) << cases[i].name;
    if (HasMessageBody(header->type)) {
      EXPECT_TRUE(BodyIsIntact(cases[i].bytes, GoldenBody(*header)));
    }
    header->checksum = 0;
    EXPECT_EQ(*header, headers[i]);
  }
}

TEST(Frame, EveryFlippedBitIsNoticed) {
  for (const GoldenCase& golden : GoldenFrameHeaders()) {
    for (std::size_t bit = 0; bit < golden.bytes.size() * 8; ++bit) {
      std::vector<std::byte> broken = golden.bytes;
      broken[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
      const std::optional<FrameHeader> header = OpenFrame(broken);
      if (!header) continue;
      // Only a message gets that far, and is held against its body.
      ASSERT_TRUE(HasMessageBody(header->type)) << golden.name << " bit " << bit;
      std::vector<std::byte> body =
          GoldenBody(GoldenFrames()[golden.name.ends_with("request") ? 0 : 1]);
      body.resize(header->size);
      EXPECT_FALSE(BodyIsIntact(broken, body)) << golden.name << " bit " << bit;
    }
  }
}

TEST(Frame, FlippedBitOfABodyIsNoticed) {
  const GoldenCase golden = GoldenFrameHeaders()[0];
  std::vector<std::byte> body = GoldenBody(GoldenFrames()[0]);
  body[2] ^= std::byte{0x10};
  EXPECT_FALSE(BodyIsIntact(golden.bytes, body));
}

TEST(Frame, LengthsBeyondTheLimitsAreRefused) {
  const auto frame = [](FrameType type, std::uint64_t size, std::uint64_t offset,
                        std::uint64_t size_a, std::uint64_t size_b) {
    FrameHeader header{.type = type, .size = static_cast<std::uint32_t>(size), .offset = offset};
    header.size_a = size_a;
    header.size_b = size_b;
    return header;
  };
  using enum FrameType;
  const std::uint64_t bulk = limits::kBulkBytesMax;
  EXPECT_TRUE(SealedAndOpened(frame(kRequest, limits::kRequestBytesMax, 0, bulk, bulk)));
  EXPECT_FALSE(SealedAndOpened(frame(kRequest, limits::kRequestBytesMax + 1, 0, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kRequest, 0, 0, bulk + 1, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kRequest, 0, 0, 0, bulk + 1)));
  EXPECT_TRUE(SealedAndOpened(frame(kResponse, limits::kResponseBytesMax, 0, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kResponse, limits::kResponseBytesMax + 1, 0, 0, 0)));
  EXPECT_TRUE(SealedAndOpened(frame(kSlice, kSliceBytesMax, bulk - kSliceBytesMax, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kSlice, kSliceBytesMax + 1, 0, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kSlice, 1, bulk, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kSlice, 1, ~std::uint64_t{0}, 0, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kSlice, 0, 0, 0, 0)));
  EXPECT_TRUE(SealedAndOpened(frame(kPull, 0, 0, limits::kPieceBytesMax, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kPull, 0, 0, limits::kPieceBytesMax + 1, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kPieceEnd, 0, bulk, 1, 0)));
  EXPECT_FALSE(SealedAndOpened(frame(kCancel, 1, 0, 0, 0)));
}

TEST(Frame, WhatATypeDoesNotUseMustBeZero) {
  FrameHeader header{.type = FrameType::kPull};
  header.remaining_us = 1;
  EXPECT_FALSE(SealedAndOpened(header));
  header = {.type = FrameType::kCancel, .piece = 1};
  EXPECT_FALSE(SealedAndOpened(header));
  header = {.type = static_cast<FrameType>(8)};
  EXPECT_FALSE(SealedAndOpened(header));
  EXPECT_FALSE(OpenFrame(std::vector<std::byte>(kFrameHeaderBytes - 1)));
}

}  // namespace
}  // namespace kdn::transport::test
