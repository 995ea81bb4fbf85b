// Goal: the kernels of the lossy levels compute what the scalar table computes, bit for bit.
// Method: every table that this CPU supports over head sizes, blocks, orders, pairs, types and row
// addresses where vector code takes another path; values at which rounding ties and types end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "codec/kernels/select.h"
#include "codec/profile.h"
#include "proto/object/model_spec.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

class EachNestedKernels : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& kernels() const { return *GetParam(); }
};

// Numbers that look random and are the same everywhere.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint32_t Below(std::uint32_t bound) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::uint32_t>((state_ >> 33) % bound);
  }

 private:
  std::uint64_t state_;
};

TEST_P(EachNestedKernels, ClassCodesMatchScalar) {
  for (const std::size_t width : {16U, 32U, 48U, 64U, 80U, 128U, 256U}) {
    for (const std::size_t tokens : {1U, 2U, 3U, 5U, 16U, 64U}) {
      for (const std::size_t planes : {0U, 1U, 3U, 5U}) {
        SCOPED_TRACE(testing::Message() << width << " wide, " << tokens << ", " << planes);
        Draws draws(width * 64 + tokens + planes);
        // Just as long as it must be: what reads further is found by the address sanitizer.
        std::vector<std::uint8_t> symbols(width * tokens);
        for (auto& s : symbols) s = static_cast<std::uint8_t>(draws.Below(64));
        std::vector<std::vector<std::byte>> bits(planes);
        ClassCodes codes;
        codes.width = width;
        codes.symbols = symbols.data();
        for (auto& x : codes.lut) x = static_cast<std::int8_t>(draws.Below(256));
        codes.planes = planes;
        codes.plane_shift = planes == 0 ? 0 : 5;
        for (std::size_t p = 0; p < planes; ++p) {
          bits[p].resize(width * tokens / 8);
          for (auto& b : bits[p]) b = static_cast<std::byte>(draws.Below(256));
          codes.plane[p] = bits[p].data();
        }
        for (const std::size_t stride : {width, width + 16}) {
          std::vector<std::int8_t> want((tokens - 1) * stride + width, 0x5A);
          std::vector<std::int8_t> got = want;
          kScalarKernels.class_codes(codes, tokens, want.data(), stride);
          kernels().class_codes(codes, tokens, got.data(), stride);
          ASSERT_EQ(want, got);
        }
      }
    }
  }
}

struct SynthesisShape {
  std::uint32_t channels;
  std::uint16_t block;
  bool ordered;
  RotaryPairs pairs;
  std::size_t rotary_dims;
};

const SynthesisShape kSynthesisShapes[] = {
    {32, 1, false, RotaryPairs::kNone, 0},         {128, 1, false, RotaryPairs::kHalves, 128},
    {128, 1, true, RotaryPairs::kNeighbours, 128}, {128, 64, true, RotaryPairs::kHalves, 128},
    {64, 64, true, RotaryPairs::kNeighbours, 64},  {128, 128, true, RotaryPairs::kNone, 0},
    {96, 32, true, RotaryPairs::kHalves, 96},      {80, 16, true, RotaryPairs::kHalves, 80},
    {80, 80, false, RotaryPairs::kNeighbours, 20}, {112, 112, true, RotaryPairs::kHalves, 56},
    {48, 48, true, RotaryPairs::kNeighbours, 16},  {192, 96, true, RotaryPairs::kHalves, 64},
    {256, 128, true, RotaryPairs::kHalves, 64},    {512, 64, true, RotaryPairs::kNone, 0},
    {512, 1, true, RotaryPairs::kNone, 0},         {256, 64, false, RotaryPairs::kHalves, 32},
};

// A strip of random numbers, some classes of which begin late.
StripProfile RandomStrip(const SynthesisShape& shape, Draws& draws) {
  StripProfile strip;
  const auto third = static_cast<std::uint16_t>(shape.channels / 48 * 16);
  strip.classes = {{.width = static_cast<std::uint16_t>(shape.channels - 2 * third), .start = 0}};
  if (third > 0) strip.classes.push_back({.width = third, .start = 1});
  if (third > 0) strip.classes.push_back({.width = third, .start = 3});
  strip.block = shape.block;
  if (shape.ordered) {
    strip.order.resize(shape.channels);
    std::iota(strip.order.begin(), strip.order.end(), std::uint16_t{0});
    for (std::uint32_t i = shape.channels; i > 1; --i) {
      std::swap(strip.order[i - 1], strip.order[draws.Below(i)]);
    }
  }
  const std::size_t numbers = shape.block == 1 ? 0 : std::size_t{shape.block} * shape.channels;
  for (std::size_t i = 0; i < numbers; ++i) {
    strip.matrix.push_back(static_cast<std::int8_t>(draws.Below(256)));
  }
  for (std::uint32_t c = 0; c < shape.channels; ++c) {
    // Halves and quarters: sums of few bits, so that rounding meets ties.
    strip.mean.push_back(static_cast<float>(draws.Below(64)) / 4.0F - 8.0F);
    const bool tiny = draws.Below(8) == 0;
    strip.scale.push_back(static_cast<float>(1 + draws.Below(4)) * (tiny ? 0x1p-18F : 0.125F));
  }
  strip.Finish();
  return strip;
}

TEST_P(EachNestedKernels, ValuesMatchScalar) {
  constexpr std::size_t kRows = 11;
  for (const SynthesisShape& shape : kSynthesisShapes) {
    Draws draws(shape.channels + shape.block);
    const StripProfile strip = RandomStrip(shape, draws);
    for (std::size_t level = 0; level < kLossyLevels; ++level) {
      std::vector<std::int8_t> codes;
      for (std::size_t t = 0; t < kRows; ++t) {
        for (const ComponentClass& one : strip.classes) {
          for (std::size_t k = 0; k < one.width; ++k) {
            codes.push_back(one.start > level ? 0 : static_cast<std::int8_t>(draws.Below(256)));
          }
        }
      }
      std::vector<float> turns(kRows * shape.rotary_dims);
      for (float& x : turns) x = static_cast<float>(draws.Below(1025)) / 512.0F - 1.0F;
      std::vector<std::uint8_t> exponents(kRows);
      exponents[3] = 5;
      exponents[10] = kTokenExponentMax;
      Synthesis synthesis{.channels = shape.channels,
                          .order = strip.order.empty() ? nullptr : strip.order.data(),
                          .block = strip.block,
                          .matrix = strip.matrix.data(),
                          .tiled = strip.tiled.data(),
                          .tiled_order = strip.block == 1 ? nullptr : strip.tiled_order.data(),
                          .columns = strip.live[level].columns.data(),
                          .row_sums = strip.live[level].row_sums.data(),
                          .mean = strip.mean.data(),
                          .scale = strip.scale.data(),
                          .pairs = shape.pairs,
                          .rotary_dims = shape.rotary_dims};
      for (const DType dtype : kAllDTypes) {
        const auto type = static_cast<std::size_t>(dtype);
        const std::size_t row_bytes = shape.channels * DTypeBytes(dtype);
        for (const std::size_t off : {std::size_t{0}, DTypeBytes(dtype)}) {
          SCOPED_TRACE(testing::Message() << shape.channels << " channels, block " << shape.block
                                          << ", " << DTypeName(dtype) << ", off " << off);
          // Rows last to first, every other one at a cache line if `off` is 0.
          std::vector<std::ptrdiff_t> rows;
          for (std::size_t t = 0; t < kRows; ++t) {
            const std::size_t stride = (row_bytes + 191) / 64 * 64 + (t % 2) * DTypeBytes(dtype);
            rows.push_back(static_cast<std::ptrdiff_t>((kRows - 1 - t) * stride));
          }
          std::vector<std::byte> want((kRows + 1) * (row_bytes + 256), std::byte{0x5A});
          const std::size_t front = 64 - reinterpret_cast<std::uintptr_t>(want.data()) % 64 + off;
          kScalarKernels.synthesise[type](
              synthesis, {codes.data(), shape.channels, exponents.data(), turns.data(), kRows},
              want.data() + front, rows.data());
          for (const bool stream : {false, true}) {
            std::vector<std::byte> got(want.size() + 64, std::byte{0x5A});
            const std::size_t skip = (reinterpret_cast<std::uintptr_t>(want.data()) -
                                      reinterpret_cast<std::uintptr_t>(got.data())) %
                                     64;
            Synthesis streamed = synthesis;
            streamed.stream = stream;
            kernels().synthesise[type](
                streamed, {codes.data(), shape.channels, exponents.data(), turns.data(), kRows},
                got.data() + skip + front, rows.data());
            kernels().stream_fence();
            ASSERT_TRUE(std::equal(want.begin(), want.end(),
                                   got.begin() + static_cast<std::ptrdiff_t>(skip)));
          }
        }
      }
    }
  }
}

// A strip of predictions and what leads from them to words.
struct Corrected {
  std::vector<std::byte> predicted;
  std::vector<std::int8_t> spreads;
  std::vector<std::uint8_t> symbols;
  std::vector<std::byte> tail;  // bits, then escapes, then what may be read
  std::size_t bits_bytes = 0;
  std::size_t escapes_bytes = 0;
  std::size_t tokens = 0;

  [[nodiscard]] Correction View() const {
    return {.channels = spreads.size(),
            .tokens = tokens,
            .spreads = spreads.data(),
            .symbols = symbols.data(),
            .bits = tail.data(),
            .bits_bytes = bits_bytes,
            .escapes = tail.data() + bits_bytes,
            .escapes_bytes = escapes_bytes,
            .readable_end = tail.data() + tail.size()};
  }
};

// Raw bits below the symbol of a value that is predicted to be `word`, as docs/codec.md has it.
int LowBits(DType dtype, std::uint32_t word, int spread) {
  constexpr int kMantissa[] = {7, 10, 23, 3, 2};  // by the number of a DType
  constexpr int kExponent[] = {8, 5, 8, 4, 5};
  const int mantissa = kMantissa[static_cast<std::size_t>(dtype)];
  const int exponent = kExponent[static_cast<std::size_t>(dtype)];
  const int field = static_cast<int>(word >> mantissa) & ((1 << exponent) - 1);
  const int unit = std::max(field, 1) - ((1 << (exponent - 1)) - 1) - mantissa;
  return std::clamp(spread - unit - 3, 0, mantissa);
}

// Random bits and escapes, as many as it takes. `behind`: further bytes that may be read.
Corrected RandomCorrected(DType dtype, std::size_t channels, std::size_t tokens,
                          std::size_t behind) {
  Draws draws(channels * 1000 + tokens);
  Corrected made;
  made.tokens = tokens;
  made.predicted = MakeValues(dtype, Pattern::kRandomBits, channels * tokens, tokens);
  for (std::size_t c = 0; c < channels; ++c) {
    made.spreads.push_back(static_cast<std::int8_t>(draws.Below(c % 3 == 0 ? 256 : 24)));
  }
  const std::size_t word_bytes = DTypeBytes(dtype);
  std::size_t bits = 0;
  for (std::size_t i = 0; i < channels * tokens; ++i) {
    made.symbols.push_back(static_cast<std::uint8_t>(draws.Below(64)));
    std::uint32_t word = 0;
    std::memcpy(&word, made.predicted.data() + i * word_bytes, word_bytes);
    if (made.symbols[i] == 0) {
      made.escapes_bytes += word_bytes;
    } else {
      bits += static_cast<std::size_t>(LowBits(dtype, word, made.spreads[i % channels]));
    }
  }
  made.bits_bytes = (bits + 7) / 8;
  for (std::size_t i = 0; i < made.bits_bytes + made.escapes_bytes; ++i) {
    made.tail.push_back(static_cast<std::byte>(draws.Below(256)));
  }
  if (bits % 8 != 0) made.tail[bits / 8] &= static_cast<std::byte>((1U << (bits % 8)) - 1);
  made.tail.resize(made.tail.size() + behind, std::byte{0xC3});
  return made;
}

TEST_P(EachNestedKernels, CorrectionsMatchScalarAndAreJudgedAlike) {
  for (const DType dtype : kAllDTypes) {
    const auto correct = kernels().correct[static_cast<std::size_t>(dtype)];
    const auto scalar = kScalarKernels.correct[static_cast<std::size_t>(dtype)];
    for (const std::size_t channels : {16U, 48U, 128U}) {
      for (const std::size_t tokens : {1U, 2U, 37U}) {
        for (const std::size_t behind : {0U, 1U, 4096U}) {
          SCOPED_TRACE(testing::Message() << DTypeName(dtype) << ", " << channels << " channels, "
                                          << tokens << " tokens, " << behind);
          const Corrected made = RandomCorrected(dtype, channels, tokens, behind);
          std::vector<std::byte> want = made.predicted;
          std::vector<std::byte> got = made.predicted;
          ASSERT_TRUE(scalar(made.View(), want.data()));
          ASSERT_TRUE(correct(made.View(), got.data()));
          ASSERT_EQ(want, got);

          Corrected broken = made;
          if (broken.bits_bytes > 0) {
            --broken.bits_bytes;
            got = made.predicted;
            EXPECT_FALSE(correct(broken.View(), got.data())) << "a byte of bits is missing";
            ++broken.bits_bytes;
            broken.tail[broken.bits_bytes - 1] |= std::byte{0x80};
            got = want = made.predicted;
            EXPECT_EQ(correct(broken.View(), got.data()), scalar(broken.View(), want.data()));
          }
          broken = made;
          broken.tail.push_back(std::byte{0});
          ++broken.escapes_bytes;
          got = made.predicted;
          EXPECT_FALSE(correct(broken.View(), got.data())) << "a byte is left over";
        }
      }
    }
  }
}

TEST_P(EachNestedKernels, StreamedRowsAreCopies) {
  for (const std::size_t row_bytes : {16U, 64U, 100U, 256U}) {
    const auto rows = MakeValues(DType::kFp8E4M3, Pattern::kRandomBits, 5 * row_bytes, row_bytes);
    std::vector<std::byte> to(6 * (row_bytes + 128), std::byte{0x5A});
    std::byte* front = to.data() + (64 - reinterpret_cast<std::uintptr_t>(to.data()) % 64);
    std::vector<std::ptrdiff_t> at;
    for (std::size_t r = 0; r < 5; ++r) {
      at.push_back(static_cast<std::ptrdiff_t>((4 - r) * (row_bytes + 64) / 64 * 64 + r % 2));
    }
    kernels().stream_rows(rows.data(), row_bytes, 5, front, at.data());
    kernels().stream_fence();
    for (std::size_t r = 0; r < 5; ++r) {
      EXPECT_EQ(std::memcmp(front + at[r], rows.data() + r * row_bytes, row_bytes), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EachNestedKernels, testing::ValuesIn(SupportedKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

}  // namespace
}  // namespace kdn::codec
