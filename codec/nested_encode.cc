#include <algorithm>
#include <bit>
#include <cmath>

#include "codec/kernels/float_bits.h"
#include "codec/nested.h"
#include "codec/nested_layout.h"

namespace kdn::codec {
namespace {

// A token whose largest component goes beyond this much of its class's range is coded coarser as a
// whole, by a power of two; one that is just outside is clipped.
constexpr float kClipRange = 1.25F;

// Draft bins of what is measured without a profile are one standard deviation wide: 2.1 bits.
constexpr float kUnitsPerDeviation = 8.0F;
constexpr std::size_t kOwnTableSymbols = 15;

float RoundToBf16(float x) {
  return Bf16Number::ToFloat(Bf16Number::FromFloat(x));
}

// Half way into the bin that is known, and a little towards zero, where values are denser.
std::int8_t OwnReconstruction(std::size_t symbol, std::size_t level) {
  const int bins = static_cast<int>(symbol) - kZeroSymbol;
  const int half = 4 >> level;
  const int middle = bins * 8 - 4 + half;
  if (level != 0 || bins == 0) return static_cast<std::int8_t>(middle);
  return static_cast<std::int8_t>(middle + (bins > 0 ? -1 : 1));
}

// Everything about one strip that its levels' tiles are made of.
class StripEncoder {
 public:
  StripEncoder(const TileShape& shape, const StripCoding& coding, const float* values,
               NestedScratch& scratch)
      : tokens_(shape.tokens),
        channels_(shape.head_size),
        coding_(coding),
        strip_(*coding.profile),
        scratch_(scratch) {
    scratch.floats.resize(shape.strip_values() + channels_);
    scratch.symbols.resize(2 * shape.strip_values());
    scratch.exponents.assign(tokens_, 0);
    Analyse(values);
    ChooseExponents();
    Quantise();
  }

  void AppendExponents(std::vector<std::byte>& directory) const {
    ByteWriter out(directory);
    const auto& e = scratch_.exponents;
    const auto plain = static_cast<std::size_t>(std::count(e.begin(), e.end(), 0));
    out.Integer(static_cast<std::uint16_t>(tokens_ - plain));
    for (std::size_t t = 0; t < tokens_; ++t) {
      if (e[t] == 0) continue;
      out.Integer(static_cast<std::uint16_t>(t));
      out.Integer(e[t]);
    }
  }

  void AppendLevel(std::size_t level, const Kernels& kernels, std::vector<std::byte>& directory,
                   std::vector<std::byte>& data) {
    std::size_t first = 0;
    for (const ComponentClass& one : strip_.classes) {
      if (BeginsAt(one, level)) AppendBlocks(one, first, kernels, directory, data);
      const std::size_t planes = PlanesIn(one, level);
      for (std::size_t p = 0; p < planes; ++p) {
        // Of the bits that fine has, the most significant come first.
        const unsigned known = one.PlanesAt(static_cast<unsigned>(level));
        const std::size_t finer = one.PlanesAt(kLossyLevels - 1) - 1 - (known - planes + p);
        AppendPlane(one, first, static_cast<unsigned>(finer), data);
      }
      first += tokens_ * one.width;
    }
    data.resize(RoundUp(data.size(), kRunAlignment));
  }

 private:
  // Values to code units, [token][component as coded].
  void Analyse(const float* values) {
    float* centred = scratch_.floats.data() + tokens_ * channels_;
    for (std::size_t t = 0; t < tokens_; ++t) {
      float* y = scratch_.floats.data() + t * channels_;
      for (std::size_t c = 0; c < channels_; ++c) {
        centred[c] = values[t * channels_ + c] - strip_.mean[c];
      }
      for (std::size_t k = 0; k < channels_; ++k) {
        const float* from = centred + k / strip_.block * strip_.block;
        const float* row = strip_.inverse.data() + k * strip_.block;
        float sum = 0.0F;
        for (std::size_t i = 0; i < strip_.block; ++i) sum += row[i] * from[i];
        y[strip_.order.empty() ? k : strip_.order[k]] = sum;
      }
    }
  }

  [[nodiscard]] float RangeOf(const ComponentClass& one) const {
    const SymbolCoder& coder = coding_.coders[one.table];
    const int bins = std::min(kZeroSymbol - coder.first_symbol, coder.last_symbol - kZeroSymbol);
    return (static_cast<float>(bins) + 0.5F) * static_cast<float>(1U << one.BinShift());
  }

  void ChooseExponents() {
    for (std::size_t t = 0; t < tokens_; ++t) {
      float* y = scratch_.floats.data() + t * channels_;
      float largest = 0.0F;
      const float* component = y;
      for (const ComponentClass& one : strip_.classes) {
        if (one.start < kLossyLevels) {
          const float range = RangeOf(one) * kClipRange;
          for (std::size_t k = 0; k < one.width; ++k) {
            largest = std::max(largest, std::fabs(component[k]) / range);
          }
        }
        component += one.width;
      }
      unsigned exponent = 0;
      while (largest > 1.0F && exponent < kTokenExponentMax) {
        largest *= 0.5F;
        ++exponent;
      }
      scratch_.exponents[t] = static_cast<std::uint8_t>(exponent);
      if (exponent == 0) continue;
      const float shrink = 1.0F / static_cast<float>(1U << exponent);
      for (std::size_t k = 0; k < channels_; ++k) y[k] *= shrink;
    }
  }

  // Code units to symbols, then the bits below them, class by class: [class][token][component].
  void Quantise() {
    std::uint8_t* symbol = scratch_.symbols.data();
    std::uint8_t* rest = symbol + tokens_ * channels_;
    std::size_t first = 0;
    for (const ComponentClass& one : strip_.classes) {
      if (one.start == kLossyLevels) {
        first += one.width;
        symbol += tokens_ * one.width;
        rest += tokens_ * one.width;
        continue;
      }
      const SymbolCoder& coder = coding_.coders[one.table];
      const auto bin = static_cast<float>(1U << one.BinShift());
      const unsigned planes = one.PlanesAt(kLossyLevels - 1);
      const auto parts = static_cast<float>(1U << planes);
      const float low = static_cast<float>(coder.first_symbol) - kZeroSymbol;
      const float high = static_cast<float>(coder.last_symbol) - kZeroSymbol;
      for (std::size_t t = 0; t < tokens_; ++t) {
        const float* y = scratch_.floats.data() + t * channels_ + first;
        for (std::size_t k = 0; k < one.width; ++k) {
          const float at = y[k] / bin + 0.5F;
          const float whole = std::clamp(std::floor(at), low, high);
          *symbol++ = static_cast<std::uint8_t>(whole + kZeroSymbol);
          *rest++ = static_cast<std::uint8_t>(std::clamp((at - whole) * parts, 0.0F, parts - 1.0F));
        }
      }
      first += one.width;
    }
  }

  void AppendBlocks(const ComponentClass& one, std::size_t first, const Kernels& kernels,
                    std::vector<std::byte>& directory, std::vector<std::byte>& data) {
    const std::uint8_t* symbols = scratch_.symbols.data() + first;
    const BlockCut cut(tokens_ * one.width);
    scratch_.words.resize(kBlockSymbolsMax);
    for (std::size_t b = 0; b < cut.count(); ++b) {
      std::array<std::uint32_t, kRansLanes> states;
      const std::size_t words =
          kernels.rans_encode(coding_.coders[one.table].encode, symbols + cut.Begin(b), cut.Size(b),
                              scratch_.words.data(), states.data());
      ByteWriter(directory).Integer(static_cast<std::uint16_t>(words));
      const auto state_bytes = std::as_bytes(std::span(states));
      data.insert(data.end(), state_bytes.begin(), state_bytes.end());
      const auto word_bytes =
          std::as_bytes(std::span(scratch_.words).subspan(cut.Size(b) - words, words));
      data.insert(data.end(), word_bytes.begin(), word_bytes.end());
      data.resize(RoundUp(data.size(), kBlockAlignment));
    }
  }

  void AppendPlane(const ComponentClass& one, std::size_t first, unsigned bit,
                   std::vector<std::byte>& data) const {
    const std::uint8_t* rest = scratch_.symbols.data() + tokens_ * channels_ + first;
    const std::size_t end = data.size() + PlaneBytes(one, tokens_);
    for (std::size_t i = 0; i < tokens_ * one.width / 8; ++i, rest += 8) {
      unsigned packed = 0;
      for (unsigned k = 0; k < 8; ++k) packed |= ((rest[k] >> bit) & 1U) << k;
      data.push_back(static_cast<std::byte>(packed));
    }
    data.resize(end);
  }

  const std::size_t tokens_;
  const std::size_t channels_;
  const StripCoding& coding_;
  const StripProfile& strip_;
  NestedScratch& scratch_;
};

void AppendOwn(std::span<const StripCoding> codings, std::vector<std::byte>& directory) {
  ByteWriter out(directory);
  const RansEncodeTable& table = codings[0].coders[0].encode;
  const std::uint8_t first = codings[0].coders[0].first_symbol;
  const std::uint8_t last = codings[0].coders[0].last_symbol;
  out.Integer(first);
  out.Integer(static_cast<std::uint8_t>(last - first + 1));
  for (unsigned s = first; s <= last; ++s) out.Integer(table.frequency[table.index_of_symbol[s]]);
  for (const StripCoding& coding : codings) {
    for (const std::vector<float>* numbers : {&coding.profile->mean, &coding.profile->scale}) {
      for (const float x : *numbers) out.Integer(Bf16Number::FromFloat(x));
    }
  }
}

}  // namespace

SymbolTable OwnTable(const RansModel& model) {
  SymbolTable table{.model = model, .reconstruction = {}};
  for (std::size_t level = 0; level < kLossyLevels; ++level) {
    for (std::size_t i = 0; i < model.count; ++i) {
      table.reconstruction[level][i] = OwnReconstruction(model.symbol[i], level);
    }
  }
  return table;
}

StripProfile OwnStrip(std::uint32_t head_size) {
  StripProfile strip;
  strip.classes.push_back({.width = static_cast<std::uint16_t>(head_size)});
  strip.mean.resize(head_size);
  strip.scale.resize(head_size);
  return strip;
}

void MeasureCodings(const TileShape& shape, std::span<const float> values, OwnCodings& own) {
  own.strips.assign(shape.strips(), OwnStrip(shape.head_size));
  Histogram histogram{};
  for (std::size_t i = 0; i < kOwnTableSymbols; ++i) {
    histogram[kZeroSymbol - kOwnTableSymbols / 2 + i] = 1;
  }
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    StripProfile& strip = own.strips[s];
    const float* value = values.data() + s * shape.strip_values();
    for (std::size_t c = 0; c < shape.head_size; ++c) {
      double sum = 0.0;
      double squares = 0.0;
      for (std::size_t t = 0; t < shape.tokens; ++t) sum += double{value[t * shape.head_size + c]};
      strip.mean[c] = RoundToBf16(static_cast<float>(sum / shape.tokens));
      for (std::size_t t = 0; t < shape.tokens; ++t) {
        const double d = double{value[t * shape.head_size + c]} - double{strip.mean[c]};
        squares += d * d;
      }
      const auto deviation = static_cast<float>(std::sqrt(squares / shape.tokens));
      strip.scale[c] = RoundToBf16(std::max(deviation / kUnitsPerDeviation, 1e-30F));
      for (std::size_t t = 0; t < shape.tokens; ++t) {
        const float units = (value[t * shape.head_size + c] - strip.mean[c]) / strip.scale[c];
        const float bin = std::floor(units / 8.0F + 0.5F);
        constexpr auto kEnd = static_cast<float>(kOwnTableSymbols / 2);
        ++histogram[static_cast<std::size_t>(std::clamp(bin, -kEnd, kEnd) + kZeroSymbol)];
      }
    }
    strip.Finish();
    strip.FinishForEncoding();
  }
  own.coders.resize(1);
  FillCoder(OwnTable(ModelOf(histogram)), own.coders[0]);
}

std::vector<StripCoding> CodingsOf(const OwnCodings& own) {
  std::vector<StripCoding> codings;
  for (const StripProfile& strip : own.strips) codings.push_back({&strip, own.coders});
  return codings;
}

void EncodeNested(const TileShape& shape, std::span<const float> values,
                  std::span<const StripCoding> codings, bool inline_codings, std::size_t levels,
                  const Kernels& kernels, std::array<std::vector<std::byte>, kLossyLevels>& tiles,
                  NestedScratch& scratch) {
  std::array<std::vector<std::byte>, kLossyLevels> data;
  std::array<std::vector<std::byte>, kLossyLevels> directory;
  if (inline_codings) AppendOwn(codings, directory[0]);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    StripEncoder strip(shape, codings[s], values.data() + s * shape.strip_values(), scratch);
    strip.AppendExponents(directory[0]);
    for (std::size_t level = 0; level < levels; ++level) {
      strip.AppendLevel(level, kernels, directory[level], data[level]);
    }
  }
  for (std::size_t level = 0; level < levels; ++level) {
    directory[level].resize(RoundUp(directory[level].size(), kRunAlignment));
    tiles[level].insert(tiles[level].end(), directory[level].begin(), directory[level].end());
    tiles[level].insert(tiles[level].end(), data[level].begin(), data[level].end());
  }
}

}  // namespace kdn::codec
