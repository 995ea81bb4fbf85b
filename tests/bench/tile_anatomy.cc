#include "tests/bench/tile_anatomy.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <unordered_map>

#include "codec/kernels/select.h"
#include "codec/nested_layout.h"
#include "codec/tile_plan.h"

namespace kdn::bench {

using codec::BeginsAt;
using codec::BlockCut;
using codec::ComponentClass;
using codec::kLossyLevels;
using codec::PlaneBytes;
using codec::PlanesIn;
using codec::RoundUp;
using codec::StripCoding;
using codec::TileBytes;
using codec::TileShape;

namespace {

void Expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "a tile is not what its format says: %s\n", what);
  std::exit(2);
}

// What the symbols take at the frequencies of their table.
double TableBytes(const codec::SymbolCoder& coder, std::span<const std::uint8_t> symbols) {
  double bits = 0.0;
  for (const std::uint8_t s : symbols) {
    bits += 8.0 - std::log2(coder.encode.frequency[coder.encode.index_of_symbol[s]]);
  }
  return bits / 8.0;
}

// One place: its tiles, draft first.
class Dissection {
 public:
  Dissection(const TileShape& shape, std::vector<StripCoding> codings, Anatomy& anatomy)
      : shape_(shape), codings_(std::move(codings)), anatomy_(anatomy) {}

  void Take(std::size_t level, ConstBytes tile) {
    ByteReader in(tile);
    TileParts& parts = anatomy_.parts[level];
    if (level == 0 && codings_.empty()) parts.own += ReadOwn(in);
    if (level == 0) Begin();
    std::vector<codec::LeanSize> sizes;
    for (const StripCoding& coding : codings_) {
      if (level == 0) {
        const auto count = in.Integer<std::uint16_t>();
        (void)in.Bytes(3 * std::size_t{count});
        parts.exponents += 2.0 + 3.0 * count;
      }
      for (const ComponentClass& one : coding.profile->classes) {
        if (!BeginsAt(one, level)) continue;
        const BlockCut cut(Count(one));
        for (std::size_t b = 0; b < cut.count(); ++b) {
          sizes.push_back(codec::ReadLeanSize(in, cut.Size(b)));
          parts.directory += 3.0;
        }
      }
    }
    Pad(tile, in, parts);
    const codec::LeanSize* next_size = sizes.data();
    CodedClass* into = anatomy_.classes.data() + first_class_;
    for (const StripCoding& coding : codings_) {
      for (const ComponentClass& one : coding.profile->classes) {
        if (BeginsAt(one, level)) {
          ReadBlocks(coding.coders[one.table], next_size, in, *into, parts);
        }
        for (std::size_t p = 0; p < PlanesIn(one, level); ++p) ReadPlane(in, *into, parts);
        ++into;
      }
    }
    Expect(in.ok() && in.rest().empty(), "its end");
  }

 private:
  [[nodiscard]] std::size_t Count(const ComponentClass& one) const {
    return std::size_t{shape_.tokens} * one.width;
  }

  double ReadOwn(ByteReader& in) {
    const std::size_t before = in.rest().size();
    const auto first = in.Integer<std::uint8_t>();
    codec::RansModel model;
    model.count = in.Integer<std::uint8_t>();
    for (std::size_t i = 0; i < model.count; ++i) {
      model.symbol[i] = static_cast<std::uint8_t>(first + i);
      model.frequency[i] = in.Integer<std::uint8_t>();
    }
    (void)in.Bytes(shape_.strips() * 4 * shape_.head_size);
    Expect(in.ok(), "what it brings along");
    own_.coders.resize(1);
    FillCoder(codec::OwnTable(model), own_.coders[0]);
    own_.strips.assign(shape_.strips(), codec::OwnStrip(shape_.head_size));
    codings_ = CodingsOf(own_);
    return static_cast<double>(before - in.rest().size());
  }

  void Begin() {
    first_class_ = anatomy_.classes.size();
    for (const StripCoding& coding : codings_) {
      for (const ComponentClass& one : coding.profile->classes) {
        anatomy_.classes.push_back({one, std::vector<std::uint32_t>(Count(one)), 0});
      }
    }
  }

  static void Pad(ConstBytes tile, ByteReader& in, TileParts& parts) {
    const std::size_t at = tile.size() - in.rest().size();
    const std::size_t padding = RoundUp(at, codec::kBlockAlignment) - at;
    in.Zeros(padding);
    parts.padding += static_cast<double>(padding);
  }

  void ReadBlocks(const codec::SymbolCoder& coder, const codec::LeanSize*& size, ByteReader& in,
                  CodedClass& into, TileParts& parts) const {
    const BlockCut cut(into.bins.size());
    std::vector<std::uint8_t> symbols(into.bins.size());
    for (std::size_t b = 0; b < cut.count(); ++b) {
      const std::size_t coded = codec::kLeanHeadBytes + size->bytes;
      const ConstBytes bytes = in.Bytes(size->BlockBytes());
      const codec::RansBlock block{.table = &coder.decode,
                                   .states = bytes.data(),
                                   .end = bytes.data() + coded,
                                   .readable_end = bytes.data() + bytes.size(),
                                   .symbols = symbols.data() + cut.Begin(b),
                                   .count = cut.Size(b),
                                   .tail = (size++)->tail};
      Expect(in.ok() && codec::kScalarKernels.lean_decode(&block, 1), "a block");
      parts.states += double{codec::kLeanHeadBytes};
      parts.words += static_cast<double>(coded - codec::kLeanHeadBytes);
      parts.lost += static_cast<double>(coded) -
                    TableBytes(coder, std::span(symbols).subspan(cut.Begin(b), cut.Size(b)));
      parts.padding += static_cast<double>(bytes.size() - coded);
    }
    std::ranges::copy(symbols, into.bins.begin());
  }

  void ReadPlane(ByteReader& in, CodedClass& into, TileParts& parts) const {
    const ConstBytes bits = in.Bytes(PlaneBytes(into.one, shape_.tokens));
    Expect(in.ok(), "a plane");
    for (std::size_t i = 0; i < into.bins.size(); ++i) {
      const unsigned bit = (std::to_integer<unsigned>(bits[i / 8]) >> (i % 8)) & 1U;
      into.bins[i] = into.bins[i] * 2 + bit;
    }
    ++into.raw_bits;
    parts.planes += static_cast<double>(bits.size());
  }

  const TileShape& shape_;
  std::vector<StripCoding> codings_;
  codec::OwnCodings own_;
  Anatomy& anatomy_;
  std::size_t first_class_ = 0;
};

}  // namespace

TileParts& TileParts::operator+=(const TileParts& other) {
  own += other.own;
  exponents += other.exponents;
  directory += other.directory;
  states += other.states;
  words += other.words;
  lost += other.lost;
  planes += other.planes;
  padding += other.padding;
  return *this;
}

double CodedClass::EntropyBits(std::size_t level) const {
  if (level < one.start) return 0.0;
  const unsigned unknown = raw_bits - one.PlanesAt(static_cast<unsigned>(level));
  std::unordered_map<std::uint32_t, std::size_t> counts;
  for (const std::uint32_t bin : bins) ++counts[bin >> unknown];
  const auto total = static_cast<double>(bins.size());
  double bits = 0.0;
  for (const auto& [bin, count] : counts) {
    bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / total);
  }
  return bits;
}

TileParts Anatomy::Until(std::size_t level) const {
  TileParts sum;
  for (std::size_t l = 0; l <= level; ++l) sum += parts[l];
  return sum;
}

double Anatomy::EntropyBytes(std::size_t level) const {
  double bits = 0.0;
  for (const CodedClass& one : classes) bits += one.EntropyBits(level);
  return bits / 8.0;
}

Anatomy Dissect(const LevelObject& object, const ModelSpec& spec, std::size_t levels) {
  Anatomy anatomy;
  anatomy.values = object.values;
  std::array<double, kLossyLevels> sizes{};
  for (const std::vector<TileBytes>& tiles : object.Places(levels)) {
    const TileCoordinates& at = tiles[0].entry.at;
    const codec::TilePlace place = codec::PlaceOf(spec, object.header, at).value();
    std::vector<StripCoding> codings;
    for (std::uint32_t l = at.layers.first; l < at.layers.end() && object.profile != nullptr; ++l) {
      for (std::uint32_t h = at.kv_heads.first; h < at.kv_heads.end(); ++h) {
        codings.push_back({&object.profile->strip(l, place.plane, h), object.profile->coders()});
      }
    }
    Dissection dissection(place.shape, std::move(codings), anatomy);
    for (std::size_t l = 0; l < tiles.size(); ++l) {
      dissection.Take(l, tiles[l].bytes);
      sizes[l] += static_cast<double>(tiles[l].bytes.size());
    }
  }
  for (std::size_t l = 0; l < levels; ++l) {
    Expect(anatomy.parts[l].All() == sizes[l], "the sum of its parts");
  }
  return anatomy;
}

}  // namespace kdn::bench
