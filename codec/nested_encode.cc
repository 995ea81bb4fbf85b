#include <algorithm>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/float_bits.h"
#include "codec/nested.h"
#include "codec/nested_layout.h"

namespace kdn::codec {
namespace {

// The table of what is measured without a profile has 15 symbols whatever the values are.
constexpr std::size_t kOwnTableSymbols = 15;

// Half way into the bin that is known, and a little towards zero, where values are denser.
std::int8_t OwnReconstruction(std::size_t symbol, std::size_t level) {
  const int bins = static_cast<int>(symbol) - kZeroSymbol;
  const int half = 4 >> level;
  const int middle = bins * 8 - 4 + half;
  if (level != 0 || bins == 0) return static_cast<std::int8_t>(middle);
  return static_cast<std::int8_t>(middle + (bins > 0 ? -1 : 1));
}

// Each symbol of the own table at least once.
Histogram OwnHistogram() {
  Histogram histogram{};
  for (std::size_t i = 0; i < kOwnTableSymbols; ++i) {
    histogram[kZeroSymbol - kOwnTableSymbols / 2 + i] = 1;
  }
  return histogram;
}

void MeasureStrip(const Kernels& kernels, const TileShape& shape, const float* values,
                  StripProfile& strip, Histogram& histogram) {
  const EncodeKernels& encode = *kernels.encode;
  encode.measure(values, shape.tokens, shape.head_size, strip.mean.data(), strip.scale.data());
  encode.count_bins(values, shape.tokens, shape.head_size, strip.mean.data(), strip.scale.data(),
                    histogram.data() + kZeroSymbol - kOwnTableSymbols / 2);
  strip.Finish();
  strip.FinishForEncoding();
}

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

float ClipOf(const ComponentClass& one, const SymbolCoder& coder) {
  // A token whose largest component goes beyond this much of its class's range is coded coarser as
  // a whole, by a power of two; one that is just outside is clipped.
  constexpr float kClipRange = 1.25F;
  const int bins = std::min(kZeroSymbol - coder.first_symbol, coder.last_symbol - kZeroSymbol);
  const float range = (static_cast<float>(bins) + 0.5F) * static_cast<float>(1U << one.BinShift());
  return range * kClipRange;
}

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
  Histogram histogram = OwnHistogram();
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    MeasureStrip(kScalarKernels, shape, values.data() + s * shape.strip_values(), own.strips[s],
                 histogram);
  }
  own.coders.resize(1);
  FillCoder(OwnTable(ModelOf(histogram)), own.coders[0]);
}

std::vector<StripCoding> CodingsOf(const OwnCodings& own) {
  std::vector<StripCoding> codings;
  for (const StripProfile& strip : own.strips) codings.push_back({&strip, own.coders});
  return codings;
}

NestedEncoder::NestedEncoder(const Kernels& kernels, const TileShape& shape,
                             std::span<const StripCoding> codings,
                             std::span<AlignedVector<std::byte>> buffers, NestedScratch& scratch)
    : kernels_(kernels), shape_(shape), measures_(codings.empty()), scratch_(scratch) {
  if (measures_) {
    // Symbols wait until all strips have been counted; what they stand for does not depend on it.
    histogram_ = OwnHistogram();
    scratch.own.strips.assign(shape.strips(), OwnStrip(shape.head_size));
    scratch.own.coders.resize(1);
    FillCoder(OwnTable(ModelOf(histogram_)), scratch.own.coders[0]);
    scratch.codings = CodingsOf(scratch.own);
  } else {
    scratch.codings.assign(codings.begin(), codings.end());
  }
  // Bits below symbols, which are written at once, and symbols.
  scratch.symbols.resize(shape.strip_values() * (measures_ ? shape.strips() + 1 : 2));
  scratch.exponents.assign(shape.strips() * shape.tokens, 0);
  scratch.tiles.clear();
  for (std::size_t level = 0; level < buffers.size(); ++level) {
    scratch.directory[level].clear();
    scratch.tiles.emplace_back(buffers[level], DirectoryMax(level));
  }
}

std::size_t NestedEncoder::DirectoryMax(std::size_t level) const {
  std::size_t bytes = 0;
  if (level == 0) {
    constexpr std::size_t kExponentBytes = 3;
    bytes += shape_.strips() * (sizeof(std::uint16_t) + kExponentBytes * shape_.tokens);
    if (measures_) {
      constexpr std::size_t kChannelBytes = 2 * sizeof(std::uint16_t);
      bytes += 2 + kOwnTableSymbols + shape_.strips() * kChannelBytes * shape_.head_size;
    }
  }
  constexpr std::size_t kLeanSizeBytes = 3;
  for (const StripCoding& coding : scratch_.codings) {
    for (const ComponentClass& one : coding.profile->classes) {
      if (!BeginsAt(one, level)) continue;
      bytes += kLeanSizeBytes * BlockCut(std::size_t{shape_.tokens} * one.width).count();
    }
  }
  return bytes;
}

std::uint8_t* NestedEncoder::SymbolsOf(std::size_t strip) const {
  return scratch_.symbols.data() + (1 + (measures_ ? strip : 0)) * shape_.strip_values();
}

Analysis NestedEncoder::PrepareClasses(const StripCoding& coding) {
  const StripProfile& strip = *coding.profile;
  std::uint8_t* symbols = SymbolsOf(added_);
  std::uint8_t* rest = scratch_.symbols.data();
  scratch_.classes.clear();
  for (const ComponentClass& one : strip.classes) {
    ClassQuantiser& quantiser = scratch_.classes.emplace_back();
    quantiser.width = one.width;
    quantiser.coded = one.start < kLossyLevels;
    quantiser.symbols = symbols;
    quantiser.rest = rest;
    symbols += std::size_t{shape_.tokens} * one.width;
    rest += std::size_t{shape_.tokens} * one.width;
    if (!quantiser.coded) continue;
    const SymbolCoder& coder = coding.coders[one.table];
    quantiser.planes = one.PlanesAt(kLossyLevels - 1);
    quantiser.first_symbol = coder.first_symbol;
    quantiser.last_symbol = coder.last_symbol;
    quantiser.clip = ClipOf(one, coder);
    quantiser.codes = coder.lut[kLossyLevels - 1].data();
  }
  return {.channels = shape_.head_size,
          .block = strip.block,
          .inverse = strip.inverse.data(),
          .columns = strip.inverse.data(),
          .mean = strip.mean.data(),
          .order = strip.order.empty() ? nullptr : strip.order.data(),
          .classes = scratch_.classes.data(),
          .class_count = scratch_.classes.size()};
}

void NestedEncoder::Add(const float* values, std::int8_t* codes) {
  const std::size_t strip = added_;
  if (measures_) MeasureStrip(kernels_, shape_, values, scratch_.own.strips[strip], histogram_);
  const Analysis analysis = PrepareClasses(scratch_.codings[strip]);
  kernels_.encode->quantise(analysis, values, shape_.tokens,
                            scratch_.exponents.data() + strip * shape_.tokens, codes);
  ++added_;
  // Without a profile symbols wait until all strips have been counted; they are draft's.
  if (!measures_) {
    AppendExponents(strip);
    AppendLevel(strip, 0);
  }
  for (std::size_t level = 1; level < scratch_.tiles.size(); ++level) AppendLevel(strip, level);
}

void NestedEncoder::AppendExponents(std::size_t strip) {
  ByteWriter out(scratch_.directory[0]);
  const std::span<const std::uint8_t> e(ExponentsOf(strip), shape_.tokens);
  const auto plain = static_cast<std::size_t>(std::count(e.begin(), e.end(), 0));
  out.Integer(static_cast<std::uint16_t>(shape_.tokens - plain));
  for (std::size_t t = 0; t < e.size(); ++t) {
    if (e[t] == 0) continue;
    out.Integer(static_cast<std::uint16_t>(t));
    out.Integer(e[t]);
  }
}

void NestedEncoder::AppendLevel(std::size_t strip, std::size_t level) {
  const StripCoding& coding = scratch_.codings[strip];
  AlignedVector<std::byte>& data = scratch_.tiles[level].data();
  const std::uint8_t* symbols = SymbolsOf(strip);
  const std::uint8_t* rest = scratch_.symbols.data();
  for (const ComponentClass& one : coding.profile->classes) {
    const std::size_t count = std::size_t{shape_.tokens} * one.width;
    if (BeginsAt(one, level)) {
      AppendLeanBlocks(kernels_, coding.coders[one.table].encode, {symbols, count}, scratch_.block,
                       scratch_.directory[level], data);
    }
    const std::size_t planes = PlanesIn(one, level);
    for (std::size_t p = 0; p < planes; ++p) {
      // Of the bits that fine has, the most significant come first.
      const unsigned known = one.PlanesAt(static_cast<unsigned>(level));
      const std::size_t finer = one.PlanesAt(kLossyLevels - 1) - 1 - (known - planes + p);
      const std::size_t at = data.size();
      data.resize(at + PlaneBytes(one, shape_.tokens));
      std::fill_n(data.end() - kBlockAlignment, kBlockAlignment, std::byte{0});
      kernels_.encode->pack_plane(rest, count, static_cast<unsigned>(finer), data.data() + at);
    }
    symbols += count;
    rest += count;
  }
}

std::array<TileExtent, kLossyLevels> NestedEncoder::Finish() {
  if (measures_) {
    FillCoder(OwnTable(ModelOf(histogram_)), scratch_.own.coders[0]);
    AppendOwn(scratch_.codings, scratch_.directory[0]);
    for (std::size_t s = 0; s < shape_.strips(); ++s) {
      AppendExponents(s);
      AppendLevel(s, 0);
    }
  }
  std::array<TileExtent, kLossyLevels> extents;
  for (std::size_t level = 0; level < scratch_.tiles.size(); ++level) {
    OpenTile& tile = scratch_.tiles[level];
    extents[level] = tile.Finish(scratch_.directory[level]);
    if (extents[level].bytes > 0) continue;
    tile.data().resize(tile.data().size() + kEmptyTileBytes, std::byte{0});
    extents[level].bytes = kEmptyTileBytes;
  }
  return extents;
}

void EncodeNested(const TileShape& shape, std::span<const float> values,
                  std::span<const StripCoding> codings, bool inline_codings, std::size_t levels,
                  const Kernels& kernels, std::array<std::vector<std::byte>, kLossyLevels>& tiles,
                  NestedScratch& scratch) {
  std::array<AlignedVector<std::byte>, kLossyLevels> buffers;
  NestedEncoder encoder(kernels, shape, inline_codings ? std::span<const StripCoding>() : codings,
                        std::span(buffers).first(levels), scratch);
  scratch.codes.resize(shape.strip_values());
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    encoder.Add(values.data() + s * shape.strip_values(), scratch.codes.data());
  }
  const std::array<TileExtent, kLossyLevels> extents = encoder.Finish();
  for (std::size_t level = 0; level < levels; ++level) {
    const std::byte* begin = buffers[level].data() + extents[level].begin;
    tiles[level].insert(tiles[level].end(), begin, begin + extents[level].bytes);
  }
}

}  // namespace kdn::codec
