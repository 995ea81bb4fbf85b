// Goal: a warp judges and decodes a rANS block as the scalar kernel does, whatever its bytes.
// Method: good blocks of every length around a step, with words too many and too few, and changed
// states and words, through both.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "codec/lane/rans_lanes.h"
#include "codec/rans_model.h"
#include "tests/codec/lane_objects.h"

namespace kdn::codec {
namespace {

struct Decoded {
  bool good = false;
  std::vector<std::uint8_t> symbols;
};

// Words and states: of blocks as byte planes have them, and of lean ones.
class LaneRans : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Histogram histogram{};
    for (std::size_t s = 0; s < 20; ++s) histogram[20 + s] = static_cast<std::uint32_t>(1 + s * s);
    const RansModel model = ModelOf(histogram);
    FillDecodeTable(model, table_);
    FillEncodeTable(model, encode_);
    std::memcpy(lane_table_.slot, table_.slot, sizeof(table_.slot));
    lane_table_.ends = table_.ends;
    for (unsigned rank = 0; rank < kRansSymbolsMax; ++rank) {
      const unsigned off = (rank + 1) / 2;
      lane_table_.byte_of_rank[rank] =
          static_cast<std::uint8_t>(rank % 2 == 0 ? kLeanMiddle + off : kLeanMiddle - off);
    }
  }

  static bool lean() { return GetParam(); }
  static std::size_t state_bytes() { return lean() ? kLeanHeadBytes : kRansStateBytes; }
  static std::size_t word_bytes() { return lean() ? 1 : 2; }

  // States, then words.
  std::vector<std::byte> Encode(std::size_t count) {
    std::vector<std::uint8_t> symbols(count);
    for (std::uint8_t& s : symbols) {
      s = static_cast<std::uint8_t>(table_.slot[random_() % kRansSlots]);
    }
    if (lean()) {
      std::vector<std::byte> room(kLeanHeadBytes + count);
      const std::size_t used =
          kScalarKernels.lean_encode(encode_, symbols.data(), count, room.data(), &tail_);
      return {room.end() - static_cast<std::ptrdiff_t>(used), room.end()};
    }
    std::vector<std::uint16_t> words(count);
    std::uint32_t states[kRansLanes];
    const std::size_t used =
        kScalarKernels.rans_encode(encode_, symbols.data(), count, words.data(), states);
    std::vector<std::byte> block(kRansStateBytes + 2 * used);
    std::memcpy(block.data(), states, kRansStateBytes);
    std::memcpy(block.data() + kRansStateBytes, words.data() + count - used, 2 * used);
    return block;
  }

  Decoded ByScalar(ConstBytes bytes, std::size_t count) {
    Decoded decoded;
    decoded.symbols.resize(count);
    const RansBlock block{.table = &table_,
                          .states = bytes.data(),
                          .end = bytes.data() + bytes.size(),
                          .readable_end = bytes.data() + bytes.size(),
                          .symbols = decoded.symbols.data(),
                          .count = count,
                          .tail = tail_};
    decoded.good =
        lean() ? kScalarKernels.lean_decode(&block, 1) : kScalarKernels.rans_decode(&block, 1);
    return decoded;
  }
  Decoded ByWarp(ConstBytes bytes, std::size_t count) {
    // As in a tile, a block is padded to a multiple of 4.
    std::vector<std::byte> padded(bytes.begin(), bytes.end());
    padded.resize((padded.size() + 3) / 4 * 4);
    AlignedBytes copy(padded);
    const LaneBlock block{
        .states = copy.data(),
        .words = static_cast<std::uint32_t>((bytes.size() - state_bytes()) / word_bytes()),
        .tail = tail_,
        .count = static_cast<std::uint32_t>(count)};
    Decoded decoded;
    decoded.symbols.resize(count);
    std::vector<std::size_t> next(kRansLanes, 0);
    auto sink = [&](unsigned lane, std::uint8_t symbol) {
      decoded.symbols[next[lane]++ * kRansLanes + lane] = symbol;
    };
    std::vector<std::byte> ring(LaneMemory::kRingBytes);
    decoded.good = lean() ? DecodeLeanBlock(HostWarp(), block, lane_table_, ring.data(), sink)
                          : DecodeRansBlock(HostWarp(), block, lane_table_, ring.data(), sink);
    return decoded;
  }
  // Returns the judgement.
  bool ExpectSame(ConstBytes bytes, std::size_t count) {
    const Decoded want = ByScalar(bytes, count);
    const Decoded got = ByWarp(bytes, count);
    EXPECT_EQ(got.good, want.good) << count << " symbols";
    if (want.good) {
      EXPECT_EQ(got.symbols, want.symbols) << count << " symbols";
    }
    return got.good;
  }

  std::uint8_t tail_ = 0;  // of the block encoded last
  RansTable table_;
  RansEncodeTable encode_;
  LaneTable lane_table_;
  std::mt19937_64 random_{7};
};

TEST_P(LaneRans, BlocksOfEveryLength) {
  for (const std::size_t count :
       {1U, 31U, 32U, 33U, 63U, 64U, 65U, 96U, 97U, 500U, 1000U, 4096U, 8191U, 8192U}) {
    EXPECT_TRUE(ExpectSame(Encode(count), count));
  }
}

TEST_P(LaneRans, WordsTooManyAndTooFew) {
  for (const std::size_t count : {800U, 8192U}) {
    std::vector<std::byte> block = Encode(count);
    ASSERT_GT(block.size(), state_bytes() + word_bytes());
    EXPECT_FALSE(ExpectSame(ConstBytes(block).first(block.size() - word_bytes()), count));
    block.resize(block.size() + word_bytes());
    EXPECT_FALSE(ExpectSame(block, count));
    block.resize(block.size() + 600);
    EXPECT_FALSE(ExpectSame(block, count));
  }
}

TEST_P(LaneRans, ChangedBytes) {
  for (const std::size_t count : {33U, 500U}) {
    const std::vector<std::byte> block = Encode(count);
    for (std::size_t at = 0; at < block.size(); ++at) {
      std::vector<std::byte> changed = block;
      changed[at] ^= static_cast<std::byte>(1 + random_() % 255);
      (void)ExpectSame(changed, count);
    }
    std::vector<std::byte> noise(block.size());
    for (std::byte& b : noise) b = static_cast<std::byte>(random_());
    EXPECT_FALSE(ExpectSame(noise, count));
  }
}

TEST_P(LaneRans, EveryTail) {
  if (!lean()) GTEST_SKIP() << "only lean blocks have one";
  const std::vector<std::byte> block = Encode(900);
  const std::uint8_t right = tail_;
  for (unsigned tail = 0; tail <= kLeanTailMax; ++tail) {
    tail_ = static_cast<std::uint8_t>(tail);
    EXPECT_EQ(ExpectSame(block, 900), tail == right) << tail;
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, LaneRans, testing::Bool(), [](const auto& lean) {
  return std::string(lean.param ? "Lean" : "Plain");
});

}  // namespace
}  // namespace kdn::codec
