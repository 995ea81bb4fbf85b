#include "codec/residual.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "codec/kernels/float_bits.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"

namespace kdn::codec {
namespace {

// Symbols -31 to 31 are differences, shifted; the one below them says that the word itself follows.
constexpr int kSymbolMax = 31;
constexpr std::uint8_t kZero = 32;
constexpr std::uint8_t kEscape = 0;
// A channel's spread is worth about this many bits of symbol.
constexpr int kSymbolBits = 3;

template <class Number, unsigned kMantissa, unsigned kExponent>
struct Words {
  using Word = typename Number::Word;
  static constexpr unsigned kBits = 8 * sizeof(Word);
  static constexpr unsigned kMantissaBits = kMantissa;
  static constexpr Word kSign = static_cast<Word>(Word{1} << (kBits - 1));

  // The word's number in the order of values; the two zeros are neighbours.
  static Word Order(Word w) { return static_cast<Word>((w & kSign) != 0 ? ~w : w | kSign); }
  static Word Unorder(Word n) { return static_cast<Word>((n & kSign) != 0 ? n ^ kSign : ~n); }
  // Exponent of the unit in the last place, as a power of two.
  static int UnitExponent(Word w) {
    constexpr int kBias = (1 << (kExponent - 1)) - 1;
    const int exponent = static_cast<int>((w >> kMantissa) & ((Word{1} << kExponent) - 1));
    return std::max(exponent, 1) - kBias - static_cast<int>(kMantissa);
  }
  // Raw bits below the symbol.
  static unsigned ShiftOf(Word predicted, int spread) {
    const int shift = spread - UnitExponent(predicted) - kSymbolBits;
    return static_cast<unsigned>(std::clamp(shift, 0, static_cast<int>(kMantissa)));
  }
  static float ToFloat(Word w) { return Number::ToFloat(w); }
};

using Bf16Words = Words<Bf16Number, 7, 8>;
using Fp16Words = Words<Fp16Number, 10, 5>;
using Fp32Words = Words<Fp32Number, 23, 8>;
using Fp8E4M3Words = Words<Fp8E4M3Number, 3, 4>;
using Fp8E5M2Words = Words<Fp8E5M2Number, 2, 5>;

template <class Word>
Word Load(const std::byte* from, std::size_t i) {
  Word word;
  std::memcpy(&word, from + i * sizeof(Word), sizeof(Word));
  return word;
}

// Bits one after the other, the first in the lowest of a byte.
class BitWriter {
 public:
  explicit BitWriter(std::vector<std::byte>& out) : out_(out) {}
  void Put(std::uint32_t bits, unsigned count) {
    waiting_ |= std::uint64_t{bits} << held_;
    held_ += count;
    for (; held_ >= 8; held_ -= 8, waiting_ >>= 8) {
      out_.push_back(static_cast<std::byte>(waiting_ & 0xFF));
    }
  }
  void Finish() { Put(0, (8 - held_) % 8); }

 private:
  std::vector<std::byte>& out_;
  std::uint64_t waiting_ = 0;
  unsigned held_ = 0;
};

// Reads zeros past the end and remembers it.
class BitReader {
 public:
  explicit BitReader(ConstBytes in) : in_(in) {}
  std::uint32_t Take(unsigned count) {
    while (held_ < count) {
      const std::uint64_t byte = at_ < in_.size() ? static_cast<std::uint64_t>(in_[at_]) : 0;
      ++at_;
      waiting_ |= byte << held_;
      held_ += 8;
    }
    const auto bits = static_cast<std::uint32_t>(waiting_ & ((std::uint64_t{1} << count) - 1));
    waiting_ >>= count;
    held_ -= count;
    return bits;
  }
  // Whether what was taken was all there was, to the byte, and the rest of that byte is zero.
  [[nodiscard]] bool Exact() const { return at_ == in_.size() && waiting_ == 0; }

 private:
  ConstBytes in_;
  std::size_t at_ = 0;
  std::uint64_t waiting_ = 0;
  unsigned held_ = 0;
};

// How far a channel's values are off: the exponent of the root of their mean square.
template <class W>
std::int8_t SpreadOf(const TileShape& shape, const std::byte* predicted, const std::byte* actual,
                     std::size_t channel) {
  using Word = typename W::Word;
  double squares = 0.0;
  std::size_t count = 0;
  for (std::size_t i = channel; i < shape.strip_values(); i += shape.head_size) {
    const double off =
        double{W::ToFloat(Load<Word>(actual, i))} - double{W::ToFloat(Load<Word>(predicted, i))};
    if (!(std::fabs(off) < 1e30)) continue;
    squares += off * off;
    ++count;
  }
  if (count == 0 || squares == 0.0) return -128;
  const double spread = std::log2(std::sqrt(squares / static_cast<double>(count)));
  return static_cast<std::int8_t>(std::clamp(std::lround(spread), -127L, 127L));
}

template <class W>
void EncodeStrip(const Kernels& kernels, const TileShape& shape, const std::byte* predicted,
                 const std::byte* actual, std::vector<std::byte>& directory,
                 std::vector<std::byte>& data, ResidualScratch& scratch) {
  using Word = typename W::Word;
  const std::size_t count = shape.strip_values();
  ByteWriter out(directory);
  std::vector<std::int8_t> spreads(shape.head_size);
  for (std::size_t c = 0; c < shape.head_size; ++c) {
    spreads[c] = SpreadOf<W>(shape, predicted, actual, c);
    out.Integer(static_cast<std::uint8_t>(spreads[c]));
  }
  std::vector<std::byte> bits;
  std::vector<std::byte> escapes;
  BitWriter bit_writer(bits);
  ByteWriter escape_writer(escapes);
  scratch.symbols.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto p = Load<Word>(predicted, i);
    const auto a = Load<Word>(actual, i);
    const unsigned shift = W::ShiftOf(p, spreads[i % shape.head_size]);
    const std::int64_t difference =
        static_cast<std::int64_t>(W::Order(a)) - static_cast<std::int64_t>(W::Order(p));
    const std::int64_t symbol = difference >> shift;
    if (symbol < -kSymbolMax || symbol > kSymbolMax) {
      scratch.symbols[i] = kEscape;
      escape_writer.Integer(a);
      continue;
    }
    scratch.symbols[i] = static_cast<std::uint8_t>(symbol + kZero);
    bit_writer.Put(static_cast<std::uint32_t>(difference & ((std::int64_t{1} << shift) - 1)),
                   shift);
  }
  bit_writer.Finish();

  Histogram histogram{};
  CountSymbols(scratch.symbols, histogram);
  ++histogram[kEscape];  // a table has two symbols at least
  ++histogram[kZero];
  const RansModel model = ModelOf(histogram);
  RansEncodeTable table;
  FillEncodeTable(model, table);
  const std::size_t at = directory.size();
  directory.resize(at + model.SizeBytes());
  WriteModel(model, directory.data() + at);
  const BlockCut cut(count);
  scratch.words.resize(kBlockSymbolsMax);
  for (std::size_t b = 0; b < cut.count(); ++b) {
    std::array<std::uint32_t, kRansLanes> states;
    const std::size_t words = kernels.rans_encode(table, scratch.symbols.data() + cut.Begin(b),
                                                  cut.Size(b), scratch.words.data(), states.data());
    out.Integer(static_cast<std::uint16_t>(words));
    const auto state_bytes = std::as_bytes(std::span(states));
    data.insert(data.end(), state_bytes.begin(), state_bytes.end());
    const auto word_bytes =
        std::as_bytes(std::span(scratch.words).subspan(cut.Size(b) - words, words));
    data.insert(data.end(), word_bytes.begin(), word_bytes.end());
    data.resize(RoundUp(data.size(), kBlockAlignment));
  }
  out.Integer(static_cast<std::uint32_t>(bits.size()));
  out.Integer(static_cast<std::uint32_t>(escapes.size()));
  data.insert(data.end(), bits.begin(), bits.end());
  data.insert(data.end(), escapes.begin(), escapes.end());
  data.resize(RoundUp(data.size(), kRunAlignment));
}

template <class W>
bool Correct(const TileShape& shape, const std::uint8_t* symbols, ConstBytes spreads,
             ConstBytes bits, ConstBytes escapes, std::byte* values) {
  using Word = typename W::Word;
  BitReader bit_reader(bits);
  ByteReader escape_reader(escapes);
  for (std::size_t i = 0; i < shape.strip_values(); ++i) {
    const auto p = Load<Word>(values, i);
    Word a;
    if (symbols[i] == kEscape) {
      a = escape_reader.Integer<Word>();
    } else {
      const auto spread = static_cast<std::int8_t>(spreads[i % shape.head_size]);
      const unsigned shift = W::ShiftOf(p, spread);
      const auto symbol = static_cast<std::uint32_t>(int{symbols[i]} - kZero);
      a = W::Unorder(static_cast<Word>(W::Order(p) + (symbol << shift) + bit_reader.Take(shift)));
    }
    std::memcpy(values + i * sizeof(Word), &a, sizeof(Word));
  }
  return bit_reader.Exact() && escape_reader.AtEnd();
}

template <template <class> class Do, class... Args>
auto ForType(DType dtype, Args&&... args) {
  switch (dtype) {
    case DType::kBf16:
      return Do<Bf16Words>()(args...);
    case DType::kFp16:
      return Do<Fp16Words>()(args...);
    case DType::kFp32:
      return Do<Fp32Words>()(args...);
    case DType::kFp8E4M3:
      return Do<Fp8E4M3Words>()(args...);
    case DType::kFp8E5M2:
      break;
  }
  return Do<Fp8E5M2Words>()(args...);
}

template <class W>
struct EncodeStripOf {
  void operator()(auto&... args) const { EncodeStrip<W>(args...); }
};
template <class W>
struct CorrectOf {
  bool operator()(auto&... args) const { return Correct<W>(args...); }
};

}  // namespace

void EncodeResidual(const Kernels& kernels, const TileShape& shape, ConstBytes predicted,
                    ConstBytes actual, std::vector<std::byte>& tile, ResidualScratch& scratch) {
  std::vector<std::byte> directory;
  std::vector<std::byte> data;
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    const std::byte* p = predicted.data() + s * shape.strip_bytes();
    const std::byte* a = actual.data() + s * shape.strip_bytes();
    ForType<EncodeStripOf>(shape.dtype, kernels, shape, p, a, directory, data, scratch);
  }
  directory.resize(RoundUp(directory.size(), kRunAlignment));
  tile.insert(tile.end(), directory.begin(), directory.end());
  tile.insert(tile.end(), data.begin(), data.end());
}

bool ResidualDecoder::Open(ConstBytes tile) {
  strips_.clear();
  ByteReader in(tile);
  std::vector<std::array<std::size_t, 2>> sizes;  // of bits and escapes
  const BlockCut cut(shape_.strip_values());
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    StripView& strip = strips_.emplace_back();
    strip.spreads = in.Bytes(shape_.head_size);
    const RansModel model = ReadModel(in, 6);
    if (!in.ok()) return false;
    FillDecodeTable(model, strip.table);
    for (std::size_t b = 0; b < cut.count(); ++b) {
      strip.words.push_back(in.Integer<std::uint16_t>());
      if (strip.words.back() > cut.Size(b)) return false;
    }
    const std::size_t bits = in.Integer<std::uint32_t>();
    const std::size_t escapes = in.Integer<std::uint32_t>();
    if (!in.ok()) return false;
    sizes.push_back({bits, escapes});
  }
  const std::size_t directory = tile.size() - in.rest().size();
  in.Zeros(RoundUp(directory, kRunAlignment) - directory);
  for (std::size_t s = 0; s < shape_.strips() && in.ok(); ++s) {
    StripView& strip = strips_[s];
    strip.blocks = in.rest().data();
    std::size_t taken = 0;
    for (const std::uint16_t words : strip.words) taken += in.Bytes(BlockBytes(words)).size();
    strip.bits = in.Bytes(sizes[s][0]);
    strip.escapes = in.Bytes(sizes[s][1]);
    taken += sizes[s][0] + sizes[s][1];
    in.Zeros(RoundUp(taken, kRunAlignment) - taken);
  }
  end_ = tile.data() + tile.size();
  return in.AtEnd();
}

bool ResidualDecoder::DecodeStrip(std::size_t strip, MutableBytes values) {
  const StripView& view = strips_[strip];
  scratch_.symbols.resize(shape_.strip_values());
  scratch_.blocks.clear();
  const BlockCut cut(shape_.strip_values());
  const std::byte* at = view.blocks;
  for (std::size_t b = 0; b < cut.count(); ++b) {
    const std::size_t words = view.words[b];
    scratch_.blocks.push_back({.table = &view.table,
                               .states = at,
                               .end = at + kRansStateBytes + 2 * words,
                               .readable_end = end_,
                               .symbols = scratch_.symbols.data() + cut.Begin(b),
                               .count = cut.Size(b)});
    at += BlockBytes(words);
  }
  if (!kernels_.rans_decode(scratch_.blocks.data(), scratch_.blocks.size())) return false;
  const std::uint8_t* symbols = scratch_.symbols.data();
  std::byte* out = values.data();
  return ForType<CorrectOf>(shape_.dtype, shape_, symbols, view.spreads, view.bits, view.escapes,
                            out);
}

}  // namespace kdn::codec
