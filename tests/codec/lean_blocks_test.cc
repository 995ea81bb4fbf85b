// Goal: lean blocks come back as they went in, from every kernel table alike, take as few bytes as
// they promise, and what no encoder wrote is refused by all tables or by none.
// Method: blocks of every length around a step, of tables from nearly certain to flat, encoded and
// decoded by each table and by the scalar one; then changed bits, bytes too many and too few, and
// every tail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/select.h"
#include "codec/lean_blocks.h"
#include "codec/rans_model.h"

namespace kdn::codec {
namespace {

using Symbols = std::vector<std::uint8_t>;

// Around the middle, of so many ranks, each `ratio` times as likely as the one before.
struct Source {
  unsigned ranks;
  double ratio;
};
constexpr Source kSources[] = {{2, 0.004}, {2, 0.5},  {3, 0.05},  {5, 0.3},  {9, 0.5},
                               {15, 0.6},  {31, 0.8}, {33, 0.85}, {64, 0.9}, {64, 1.0}};

struct Coded {
  RansModel model;
  RansTable table;
  std::vector<std::byte> bytes;
  std::size_t count = 0;
  std::uint8_t tail = 0;

  [[nodiscard]] RansBlock Block(std::uint8_t* out) const {
    const std::byte* end = bytes.data() + bytes.size();
    return {.table = &table,
            .states = bytes.data(),
            .end = end,
            .readable_end = end,
            .symbols = out,
            .count = count,
            .tail = tail};
  }
};

RansModel ModelFor(const Source& source) {
  Histogram histogram{};
  double mass = 1e6;
  for (unsigned rank = 0; rank < source.ranks; ++rank, mass *= source.ratio) {
    const unsigned off = (rank + 1) / 2;
    const unsigned symbol = rank % 2 == 0 ? kLeanMiddle + off : kLeanMiddle - off;
    histogram[symbol] = 1 + static_cast<std::uint32_t>(mass);
  }
  return ModelOf(histogram);
}

// Bins of one unit.
RansModel GaussianModel(double deviation) {
  Histogram histogram{};
  for (int bin = -4; bin <= 4; ++bin) {
    const double x = bin / deviation;
    histogram[static_cast<std::size_t>(static_cast<int>(kLeanMiddle) + bin)] =
        static_cast<std::uint32_t>(std::lround(1e6 * std::exp(-x * x / 2)));
  }
  return ModelOf(histogram);
}

Symbols Draw(const RansModel& model, std::size_t count, std::uint64_t seed) {
  RansTable table;
  FillDecodeTable(model, table);
  std::mt19937_64 random(seed);
  Symbols symbols(count);
  for (std::uint8_t& s : symbols) s = static_cast<std::uint8_t>(table.slot[random() % kRansSlots]);
  return symbols;
}

Coded EncodeWith(const Kernels& kernels, const RansModel& model, const Symbols& symbols) {
  Coded coded;
  coded.model = model;
  coded.count = symbols.size();
  RansEncodeTable encode;
  FillEncodeTable(model, encode);
  FillDecodeTable(model, coded.table);
  std::vector<std::byte> room(kLeanHeadBytes + symbols.size() + 16, std::byte{0xA5});
  const std::size_t used =
      kernels.lean_encode(encode, symbols.data(), symbols.size(), room.data(), &coded.tail);
  EXPECT_EQ(std::count(room.end() - 16, room.end(), std::byte{0xA5}), 16);
  coded.bytes.assign(room.end() - 16 - static_cast<std::ptrdiff_t>(used), room.end() - 16);
  return coded;
}

double EntropyBytes(const RansModel& model, const Symbols& symbols) {
  double bits = 0.0;
  for (const std::uint8_t s : symbols) {
    const auto at = std::find(model.symbol.begin(), model.symbol.end(), s) - model.symbol.begin();
    bits -= std::log2(model.frequency[static_cast<std::size_t>(at)] / 256.0);
  }
  return bits / 8.0;
}

class LeanBlocks : public testing::TestWithParam<const Kernels*> {
 protected:
  static const Kernels& kernels() { return *GetParam(); }

  // Judged as the scalar table judges it; returns the judgement.
  static bool Judge(const Coded& coded) {
    Symbols want(coded.count);
    Symbols got(coded.count + 64, 0xEE);
    const RansBlock want_block = coded.Block(want.data());
    const RansBlock got_block = coded.Block(got.data());
    const bool good = kScalarKernels.lean_decode(&want_block, 1);
    EXPECT_EQ(kernels().lean_decode(&got_block, 1), good);
    EXPECT_EQ(std::count(got.end() - 64, got.end(), 0xEE), 64);
    got.resize(coded.count);
    EXPECT_TRUE(!good || got == want);
    EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](std::uint8_t s) { return s < 64; }));
    return good;
  }
};

TEST_P(LeanBlocks, TwoAtOnceAreEachAsAlone) {
  constexpr std::size_t kCounts[][2] = {{8192, 8192}, {8192, 8160}, {4096, 8192}, {1000, 200},
                                        {129, 128},   {31, 8192},   {8192, 129},  {5, 7}};
  for (const Source& source : kSources) {
    const RansModel model = ModelFor(source);
    RansEncodeTable encode;
    FillEncodeTable(model, encode);
    for (const auto& counts : kCounts) {
      Symbols symbols[2];
      std::vector<std::byte> rooms[2];
      LeanPiece pieces[2];
      for (std::size_t i = 0; i < 2; ++i) {
        symbols[i] = Draw(model, counts[i], counts[0] + i);
        rooms[i].assign(kLeanHeadBytes + counts[i] + 16, std::byte{0xA5});
        pieces[i].symbols = symbols[i].data();
        pieces[i].count = counts[i];
        pieces[i].out = rooms[i].data();
      }
      kernels().encode->lean_encode_two(encode, pieces);
      for (std::size_t i = 0; i < 2; ++i) {
        const Coded alone = EncodeWith(kScalarKernels, model, symbols[i]);
        ASSERT_EQ(pieces[i].tail, alone.tail) << counts[0] << ", " << counts[1];
        const auto end = rooms[i].end() - 16;
        ASSERT_EQ(std::count(end, rooms[i].end(), std::byte{0xA5}), 16);
        ASSERT_EQ(std::vector<std::byte>(end - static_cast<std::ptrdiff_t>(pieces[i].bytes), end),
                  alone.bytes)
            << counts[0] << ", " << counts[1];
      }
    }
  }
}

TEST_P(LeanBlocks, ComeBackAndEqualTheScalarEncoders) {
  for (const Source& source : kSources) {
    const RansModel model = ModelFor(source);
    for (const std::size_t count :
         {1U,   2U,   31U,  32U,  33U,  63U,   64U,   65U,   95U,   96U,  97U,
          128U, 129U, 160U, 200U, 416U, 1000U, 2000U, 4096U, 8191U, 8192U}) {
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        SCOPED_TRACE(testing::Message() << source.ranks << " ranks, " << count << " symbols");
        const Symbols symbols = Draw(model, count, 100 * count + seed);
        const Coded want = EncodeWith(kScalarKernels, model, symbols);
        const Coded got = EncodeWith(kernels(), model, symbols);
        ASSERT_EQ(want.bytes, got.bytes);
        ASSERT_EQ(want.tail, got.tail);
        Symbols decoded(count);
        const RansBlock block = want.Block(decoded.data());
        ASSERT_TRUE(kernels().lean_decode(&block, 1));
        ASSERT_EQ(symbols, decoded);
        ASSERT_LE(want.tail, LeanSteps(count));
        ASSERT_LE(want.bytes.size() - kLeanHeadBytes,
                  (LeanSteps(count) - want.tail + 1) * kRansLanes);
      }
    }
  }
}

// A lane of rare symbols beside lanes of a nearly certain one: those need starts of their own, or
// the tail has to be shorter than the fastest lane would have it.
TEST_P(LeanBlocks, LanesThatDifferComeBack) {
  std::mt19937_64 random(3);
  for (const unsigned ranks : {2U, 4U, 20U, 40U, 64U}) {
    const RansModel model = ModelFor({ranks, 0.004});
    for (int round = 0; round < 40; ++round) {
      Symbols symbols(32 * (3 + random() % 40), model.symbol[0]);
      const auto common = std::max_element(model.frequency.begin(), model.frequency.end());
      const std::uint8_t likely =
          model.symbol[static_cast<std::size_t>(common - model.frequency.begin())];
      const std::size_t lanes = random() % 33;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        symbols[i] = i % 32 < lanes ? likely : model.symbol[random() % model.count];
      }
      const Coded want = EncodeWith(kScalarKernels, model, symbols);
      const Coded got = EncodeWith(kernels(), model, symbols);
      ASSERT_EQ(want.bytes, got.bytes);
      ASSERT_EQ(want.tail, got.tail);
      Symbols decoded(symbols.size());
      const RansBlock block = want.Block(decoded.data());
      ASSERT_TRUE(kernels().lean_decode(&block, 1));
      ASSERT_EQ(symbols, decoded);
    }
  }
}

TEST_P(LeanBlocks, EveryFrequencyCodes) {
  for (unsigned f = 1; f < 256; ++f) {
    Histogram histogram{};
    histogram[31] = f;
    histogram[50] = 256 - f;
    const RansModel model = ModelOf(histogram);
    Symbols symbols(2048);
    for (std::size_t i = 0; i < symbols.size(); ++i) symbols[i] = i * 37 % 256 < f ? 31 : 50;
    const Coded want = EncodeWith(kScalarKernels, model, symbols);
    const Coded got = EncodeWith(kernels(), model, symbols);
    ASSERT_EQ(want.bytes, got.bytes) << f;
    Symbols decoded(symbols.size());
    const RansBlock block = got.Block(decoded.data());
    ASSERT_TRUE(kernels().lean_decode(&block, 1));
    ASSERT_EQ(symbols, decoded) << f;
  }
}

TEST_P(LeanBlocks, SpendLittleOnStates) {
  // Of 100 bytes in front 76 at least are symbols, where tables are as they are in levels.
  for (const double deviation : {0.6, 0.8, 1.0, 1.5}) {
    const RansModel model = GaussianModel(deviation);
    double over = 0.0;
    constexpr int kBlocks = 20;
    for (std::uint64_t seed = 0; seed < kBlocks; ++seed) {
      const Symbols symbols = Draw(model, 4096, seed);
      over += static_cast<double>(EncodeWith(kernels(), model, symbols).bytes.size()) -
              EntropyBytes(model, symbols);
    }
    EXPECT_LT(over / kBlocks, 24.0) << deviation;
  }
}

TEST_P(LeanBlocks, WhatLiesBehindABlockChangesNothing) {
  const RansModel model = ModelFor({15, 0.6});
  for (const std::size_t count : {32U, 97U, 512U, 8192U}) {
    const Symbols symbols = Draw(model, count, count);
    const Coded coded = EncodeWith(kernels(), model, symbols);
    for (const std::byte behind : {std::byte{0}, std::byte{0xFF}}) {
      std::vector<std::byte> memory = coded.bytes;
      memory.resize(memory.size() + 4096, behind);
      Symbols decoded(count);
      RansBlock block = coded.Block(decoded.data());
      block.states = memory.data();
      block.end = memory.data() + coded.bytes.size();
      block.readable_end = memory.data() + memory.size();
      ASSERT_TRUE(kernels().lean_decode(&block, 1)) << count;
      ASSERT_EQ(symbols, decoded) << count;
      ++block.end;
      ASSERT_FALSE(kernels().lean_decode(&block, 1)) << count << ", a byte too many";
      block.end -= 2;
      if (coded.bytes.size() > kLeanHeadBytes) {
        ASSERT_FALSE(kernels().lean_decode(&block, 1)) << count << ", a byte from behind";
      }
    }
  }
}

TEST_P(LeanBlocks, DifferentTablesLengthsAndTailsDecodeTogether) {
  std::vector<Symbols> symbols;
  std::vector<Coded> coded;
  for (const std::size_t count :
       {8192U, 8160U, 100U, 8192U, 31U, 4096U, 4128U, 64U, 5U, 4096U, 4096U, 4096U}) {
    const RansModel model = ModelFor(kSources[count % std::size(kSources)]);
    symbols.push_back(Draw(model, count, symbols.size()));
    coded.push_back(EncodeWith(kernels(), model, symbols.back()));
  }
  std::vector<Symbols> decoded;
  for (const Symbols& s : symbols) decoded.emplace_back(s.size());
  std::vector<RansBlock> blocks;
  for (std::size_t i = 0; i < coded.size(); ++i) {
    blocks.push_back(coded[i].Block(decoded[i].data()));
  }
  for (std::size_t i = coded.size() - 2; i < coded.size(); ++i) blocks[i].table = blocks[9].table;
  ASSERT_TRUE(kernels().lean_decode(blocks.data(), blocks.size()));
  EXPECT_EQ(symbols, decoded);
}

TEST_P(LeanBlocks, DamageIsJudgedAsScalarJudgesIt) {
  const RansModel model = ModelFor({15, 0.6});
  for (const std::size_t count : {20U, 128U, 150U, 700U}) {
    const Coded good = EncodeWith(kScalarKernels, model, Draw(model, count, count));
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * good.bytes.size(); ++bit) {
      Coded broken = good;
      broken.bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      refused += Judge(broken) ? 0 : 1;
    }
    if (count == 700) {
      EXPECT_GT(refused, 8 * good.bytes.size() / 2);
    }
    for (unsigned tail = 0; tail <= kLeanTailMax; ++tail) {
      Coded broken = good;
      broken.tail = static_cast<std::uint8_t>(tail);
      const bool accepted = Judge(broken);
      if (count == 700) {
        EXPECT_EQ(accepted, tail == good.tail) << tail;
      }
    }
  }
}

TEST_P(LeanBlocks, NoiseIsJudgedAsScalarJudgesIt) {
  std::mt19937_64 random(11);
  std::size_t accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    Coded noise;
    noise.model = ModelFor(kSources[random() % std::size(kSources)]);
    FillDecodeTable(noise.model, noise.table);
    noise.count = 1 + random() % 700;
    noise.tail = static_cast<std::uint8_t>(random() % (LeanSteps(noise.count) + 1));
    noise.bytes.resize(kLeanHeadBytes + random() % 300);
    for (std::byte& b : noise.bytes) b = static_cast<std::byte>(random());
    accepted += Judge(noise) ? 1 : 0;
  }
  EXPECT_LT(accepted, 30U);
}

// Runs of several blocks, cut into one, an odd and an even number of them, one run behind the other
// as they lie in a tile: what AppendLeanBlocks() writes is each block's own encoding, its sizes are
// what the directory says, and LeanRun finds each run again, whether those before it were skipped
// or decoded.
TEST_P(LeanBlocks, RunsLieBehindEachOther) {
  constexpr std::size_t kCounts[] = {8192, 100, 3 * 8192, 5 * 8192 + 17, 4};
  const RansModel model = ModelFor({9, 0.5});
  RansTable table;
  RansEncodeTable encode;
  FillDecodeTable(model, table);
  FillEncodeTable(model, encode);
  AlignedVector<std::byte> room;
  AlignedVector<std::byte> data(8, std::byte{0x77});  // of tiles in front
  std::vector<std::byte> directory(3, std::byte{0x77});
  std::vector<Symbols> runs;
  AlignedVector<std::byte> want = data;
  std::vector<LeanSize> sizes;
  for (const std::size_t count : kCounts) {
    const Symbols& symbols = runs.emplace_back(Draw(model, count, count));
    AppendLeanBlocks(kernels(), encode, symbols, room, directory, data);
    const BlockCut cut(count);
    for (std::size_t b = 0; b < cut.count(); ++b) {
      const auto begin = symbols.begin() + static_cast<std::ptrdiff_t>(cut.Begin(b));
      const Coded one = EncodeWith(kScalarKernels, model,
                                   {begin, begin + static_cast<std::ptrdiff_t>(cut.Size(b))});
      Append(want, one.bytes.data(), one.bytes.size());
      want.resize(RoundUp(want.size(), kBlockAlignment), std::byte{0});
      sizes.push_back({static_cast<std::uint16_t>(one.bytes.size() - kLeanHeadBytes), one.tail});
    }
  }
  ASSERT_EQ(data, want);
  ByteReader in(ConstBytes(directory).subspan(3));
  std::vector<LeanSize> read;
  for (const std::size_t count : kCounts) {
    const BlockCut cut(count);
    for (std::size_t b = 0; b < cut.count(); ++b) read.push_back(ReadLeanSize(in, cut.Size(b)));
  }
  ASSERT_TRUE(in.ok() && in.rest().empty());
  ASSERT_EQ(read.size(), sizes.size());
  for (std::size_t b = 0; b < sizes.size(); ++b) {
    EXPECT_EQ(read[b].bytes, sizes[b].bytes) << b;
    EXPECT_EQ(read[b].tail, sizes[b].tail) << b;
  }
  for (unsigned wanted = 1; wanted < 1U << std::size(kCounts); ++wanted) {
    LeanRun run{data.data() + 8, read.data()};
    std::vector<RansBlock> blocks;
    std::vector<Symbols> got(std::size(kCounts));
    for (std::size_t r = 0; r < std::size(kCounts); ++r) {
      if ((wanted >> r & 1U) == 0) {
        run.Skip(kCounts[r]);
        continue;
      }
      got[r].resize(kCounts[r]);
      run.AddBlocks(table, kCounts[r], data.data() + data.size(), got[r].data(), blocks);
    }
    ASSERT_EQ(run.at, data.data() + data.size());
    ASSERT_EQ(run.sizes, read.data() + read.size());
    ASSERT_TRUE(kernels().lean_decode(blocks.data(), blocks.size())) << wanted;
    for (std::size_t r = 0; r < std::size(kCounts); ++r) {
      if ((wanted >> r & 1U) == 0) continue;
      ASSERT_EQ(got[r], runs[r]) << r << " of " << wanted;
    }
  }
}

TEST(LeanSizes, WhatNoBlockHasIsRefused) {
  const auto read = [](std::uint16_t bytes, std::uint8_t tail, std::size_t symbols) {
    std::vector<std::byte> directory;
    ByteWriter out(directory);
    out.Integer(bytes);
    out.Integer(tail);
    ByteReader in(directory);
    (void)ReadLeanSize(in, symbols);
    return in.ok();
  };
  EXPECT_TRUE(read(0, 0, 1));
  EXPECT_TRUE(read(32, 0, 128));
  EXPECT_FALSE(read(33, 0, 128));
  EXPECT_FALSE(read(0, 1, 128));
  EXPECT_TRUE(read(0, 1, 129));
  EXPECT_TRUE(read(64, 0, 129));
  EXPECT_FALSE(read(65, 0, 129));
  EXPECT_FALSE(read(33, 1, 129));
  EXPECT_TRUE(read(253 * 32, 0, 8192));
  EXPECT_FALSE(read(253 * 32, 1, 8192));
  EXPECT_FALSE(read(0, 253, 8192));
}

INSTANTIATE_TEST_SUITE_P(All, LeanBlocks, testing::ValuesIn(SupportedKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

}  // namespace
}  // namespace kdn::codec
