#include <algorithm>

#include "codec/kernels/float_bits.h"
#include "codec/nested.h"
#include "codec/nested_layout.h"

namespace kdn::codec {
namespace {

bool ReadBf16(ByteReader& in, std::vector<float>& numbers) {
  for (float& x : numbers) {
    x = Bf16Number::ToFloat(in.Integer<std::uint16_t>());
    if (!(x >= -kOwnNumberMax && x <= kOwnNumberMax)) return false;
  }
  return in.ok();
}

}  // namespace

bool ReadOwnModel(ByteReader& in, RansModel& model) {
  const auto first = in.Integer<std::uint8_t>();
  model.count = in.Integer<std::uint8_t>();
  if (model.count < 2 || first + unsigned{model.count} > kRansSymbolsMax) return false;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    model.symbol[i] = static_cast<std::uint8_t>(first + i);
    model.frequency[i] = in.Integer<std::uint8_t>();
    if (model.frequency[i] == 0) return false;
    sum += model.frequency[i];
  }
  return sum == kRansSlots && in.ok();
}

NestedDecoder::NestedDecoder(const Kernels& kernels, const TileShape& shape,
                             std::span<const StripCoding> codings, NestedScratch& scratch)
    : kernels_(kernels), shape_(shape), codings_(codings), scratch_(scratch) {}

bool NestedDecoder::ReadOwn(ByteReader& in) {
  RansModel model;
  if (!ReadOwnModel(in, model)) return false;
  OwnCodings& own = scratch_.own;
  own.coders.resize(1);
  FillCoder(OwnTable(model), own.coders[0]);
  // Before anything is allocated for them: are the strips' numbers there?
  if (in.rest().size() < shape_.strips() * 4 * shape_.head_size) return false;
  own.strips.assign(shape_.strips(), OwnStrip(shape_.head_size));
  for (StripProfile& strip : own.strips) {
    if (!ReadBf16(in, strip.mean) || !ReadBf16(in, strip.scale)) return false;
  }
  scratch_.codings = CodingsOf(own);
  codings_ = scratch_.codings;
  return true;
}

bool NestedDecoder::ReadExponents(ByteReader& in, std::size_t strip) {
  const auto count = in.Integer<std::uint16_t>();
  if (count > shape_.tokens) return false;
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto token = in.Integer<std::uint16_t>();
    const auto exponent = in.Integer<std::uint8_t>();
    if (!in.ok() || token < next || token >= shape_.tokens) return false;
    if (exponent == 0 || exponent > kTokenExponentMax) return false;
    scratch_.exponents[strip * shape_.tokens + token] = exponent;
    any_exponent_ = true;
    next = token + 1U;
  }
  return in.ok();
}

bool NestedDecoder::Open(ConstBytes tile) {
  if (open_ == kLossyLevels) return false;
  const std::size_t level = open_;
  LevelView& view = levels_[level];
  ByteReader in(tile);
  if (level == 0) {
    if (codings_.empty() && !ReadOwn(in)) return false;
    scratch_.exponents.assign(shape_.strips() * shape_.tokens, 0);
  }
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    if (level == 0 && !ReadExponents(in, s)) return false;
    view.first_size.push_back(view.sizes.size());
    for (const ComponentClass& one : codings_[s].profile->classes) {
      if (!BeginsAt(one, level)) continue;
      const BlockCut cut(std::size_t{shape_.tokens} * one.width);
      for (std::size_t b = 0; b < cut.count(); ++b) {
        view.sizes.push_back(ReadLeanSize(in, cut.Size(b)));
        if (!in.ok()) return false;
      }
    }
  }
  const std::size_t directory = tile.size() - in.rest().size();
  in.Zeros(RoundUp(directory, kBlockAlignment) - directory);
  // The sizes of all strips follow from those of blocks; together they are the tile.
  std::size_t at = RoundUp(directory, kBlockAlignment);
  for (std::size_t s = 0; s < shape_.strips() && in.ok(); ++s) {
    view.strips.push_back(tile.data() + std::min(at, tile.size()));
    const LeanSize* sizes = view.sizes.data() + view.first_size[s];
    for (const ComponentClass& one : codings_[s].profile->classes) {
      if (BeginsAt(one, level)) {
        const BlockCut cut(std::size_t{shape_.tokens} * one.width);
        for (std::size_t b = 0; b < cut.count(); ++b) at += (sizes++)->BlockBytes();
      }
      at += PlanesIn(one, level) * PlaneBytes(one, shape_.tokens);
    }
  }
  if (at == 0) {
    in.Zeros(kEmptyTileBytes);
    at = kEmptyTileBytes;
  }
  if (!in.ok() || at != tile.size()) return false;
  view.end = tile.data() + tile.size();
  ++open_;
  return true;
}

bool NestedDecoder::DecodeSymbols(std::span<const std::uint8_t> wanted) {
  scratch_.symbols.resize(shape_.values());
  scratch_.blocks.clear();
  for (std::size_t s = 0; s < wanted.size(); ++s) {
    if (wanted[s] != 0) AddBlocks(s);
  }
  // Kernels like blocks of one table to follow one another.
  std::sort(scratch_.blocks.begin(), scratch_.blocks.end(),
            [](const RansBlock& a, const RansBlock& b) {
              return a.table != b.table ? a.table < b.table : a.symbols < b.symbols;
            });
  return kernels_.lean_decode(scratch_.blocks.data(), scratch_.blocks.size());
}

void NestedDecoder::AddBlocks(std::size_t strip) {
  for (std::size_t level = 0; level < open_; ++level) {
    const LevelView& view = levels_[level];
    LeanRun run = view.Begin(strip);
    std::uint8_t* symbols = scratch_.symbols.data() + strip * shape_.strip_values();
    for (const ComponentClass& one : codings_[strip].profile->classes) {
      const std::size_t count = std::size_t{shape_.tokens} * one.width;
      if (BeginsAt(one, level)) {
        run.AddBlocks(codings_[strip].coders[one.table].decode, count, view.end, symbols,
                      scratch_.blocks);
      }
      run.at += PlanesIn(one, level) * PlaneBytes(one, shape_.tokens);
      symbols += count;
    }
  }
}

void NestedDecoder::FillCodes(std::size_t strip, std::size_t first, std::size_t tokens,
                              std::int8_t* codes) const {
  std::array<LeanRun, kLossyLevels> runs;
  for (std::size_t l = 0; l < open_; ++l) runs[l] = levels_[l].Begin(strip);
  const std::uint8_t* symbols = scratch_.symbols.data() + strip * shape_.strip_values();
  for (const ComponentClass& one : codings_[strip].profile->classes) {
    const std::size_t count = std::size_t{shape_.tokens} * one.width;
    ClassCodes run;
    run.width = one.width;
    run.symbols = symbols + first * one.width;
    symbols += count;
    for (std::size_t l = one.start; l < open_; ++l) {
      if (BeginsAt(one, l)) runs[l].Skip(count);
      for (std::size_t p = 0; p < PlanesIn(one, l); ++p) {
        run.plane[run.planes++] = runs[l].at + first * one.width / 8;
        runs[l].at += PlaneBytes(one, shape_.tokens);
      }
    }
    if (one.start <= level()) {
      const SymbolCoder& coder = codings_[strip].coders[one.table];
      std::copy(coder.lut[level()].begin(), coder.lut[level()].end(), run.lut);
      run.plane_shift = one.BinShift() - 1;
      kernels_.class_codes(run, tokens, codes, shape_.head_size);
    } else {
      for (std::size_t t = 0; t < tokens; ++t) {
        std::fill_n(codes + t * shape_.head_size, one.width, std::int8_t{0});
      }
    }
    codes += one.width;
  }
}

const std::uint8_t* NestedDecoder::Exponents(std::size_t strip) const {
  return any_exponent_ ? scratch_.exponents.data() + strip * shape_.tokens : nullptr;
}

}  // namespace kdn::codec
