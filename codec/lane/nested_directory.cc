#include "codec/lane/nested_directory.h"

#include <cmath>
#include <utility>

#include "codec/kernels/float_bits.h"
#include "codec/nested_layout.h"

namespace kdn::codec {
NestedDirectory::NestedDirectory(const TileShape& shape, std::vector<StripCoding> codings)
    : shape_(shape), codings_(std::move(codings)), exponents_(shape.strips()) {}

bool NestedDirectory::ReadOwn(ByteReader& in, ConstBytes tile, const std::byte* bytes_dev) {
  RansModel model;
  if (!ReadOwnModel(in, model)) return false;
  FillCoder(OwnTable(model), own_coder_);
  own_numbers_ = bytes_dev + (tile.size() - in.rest().size());
  const std::size_t numbers = shape_.strips() * 2 * shape_.head_size;
  ByteReader each(in.Bytes(2 * numbers));
  if (!in.ok()) return false;
  for (std::size_t i = 0; i < numbers; ++i) {
    const float x = Bf16Number::ToFloat(each.Integer<std::uint16_t>());
    if (!(std::fabs(x) <= kOwnNumberMax)) return false;
  }
  own_strip_ = OwnStrip(shape_.head_size);
  codings_.assign(shape_.strips(), {&own_strip_, std::span(&own_coder_, 1)});
  return true;
}

bool NestedDirectory::ReadExponents(ByteReader& in, std::size_t strip) {
  const auto count = in.Integer<std::uint16_t>();
  if (count > shape_.tokens) return false;
  if (count > 0) exponents_[strip].assign(shape_.tokens, 0);
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto token = in.Integer<std::uint16_t>();
    const auto exponent = in.Integer<std::uint8_t>();
    if (!in.ok() || token < next || token >= shape_.tokens) return false;
    if (exponent == 0 || exponent > kTokenExponentMax) return false;
    exponents_[strip][token] = exponent;
    next = token + 1U;
  }
  return in.ok();
}

bool NestedDirectory::ReadSizes(ByteReader& in, std::size_t strip) {
  LevelView& view = levels_[open_];
  view.first_size.push_back(view.sizes.size());
  for (const ComponentClass& one : codings_[strip].profile->classes) {
    if (!BeginsAt(one, open_)) continue;
    const BlockCut cut(std::size_t{shape_.tokens} * one.width);
    for (std::size_t b = 0; b < cut.count(); ++b) {
      view.sizes.push_back(ReadLeanSize(in, cut.Size(b)));
      if (!in.ok()) return false;
    }
  }
  return true;
}

// At the level that is being opened.
std::size_t NestedDirectory::StripBytes(std::size_t strip) const {
  const LeanSize* sizes = levels_[open_].sizes.data() + levels_[open_].first_size[strip];
  std::size_t bytes = 0;
  for (const ComponentClass& one : codings_[strip].profile->classes) {
    if (BeginsAt(one, open_)) {
      const BlockCut cut(std::size_t{shape_.tokens} * one.width);
      for (std::size_t b = 0; b < cut.count(); ++b) bytes += (sizes++)->BlockBytes();
    }
    bytes += PlanesIn(one, open_) * PlaneBytes(one, shape_.tokens);
  }
  return bytes;
}

bool NestedDirectory::Open(ConstBytes tile, const std::byte* bytes_dev) {
  if (open_ == kLossyLevels) return false;
  ByteReader in(tile);
  if (open_ == 0 && codings_.empty() && !ReadOwn(in, tile, bytes_dev)) return false;
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    if (open_ == 0 && !ReadExponents(in, s)) return false;
    if (!ReadSizes(in, s)) return false;
  }
  const std::size_t directory = tile.size() - in.rest().size();
  in.Zeros(RoundUp(directory, kBlockAlignment) - directory);
  if (!in.ok()) return false;
  // The sizes of all strips follow from those of blocks; together they are the tile.
  std::size_t at = RoundUp(directory, kBlockAlignment);
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    levels_[open_].strips.push_back(bytes_dev + at);
    at += StripBytes(s);
  }
  if (at == 0) {
    in.Zeros(kEmptyTileBytes);
    at = kEmptyTileBytes;
  }
  if (!in.ok() || at != tile.size()) return false;
  ++open_;
  return true;
}

void NestedDirectory::Describe(std::size_t strip, std::vector<LaneRun>& runs,
                               std::vector<LaneBlock>& blocks) const {
  std::array<const std::byte*, kLossyLevels> at{};
  for (std::size_t l = 0; l < open_; ++l) at[l] = levels_[l].strips[strip];
  std::array<const LeanSize*, kLossyLevels> sizes{};
  for (std::size_t l = 0; l < open_; ++l) {
    sizes[l] = levels_[l].sizes.data() + levels_[l].first_size[strip];
  }
  std::uint32_t first = 0;
  for (const ComponentClass& one : codings_[strip].profile->classes) {
    LaneRun run;
    run.width = one.width;
    run.first = first;
    first += one.width;
    const std::size_t count = std::size_t{shape_.tokens} * one.width;
    for (std::size_t l = one.start; l < open_; ++l) {
      run.mode = LaneRunMode::kRans;
      run.plane_shift = static_cast<std::uint8_t>(one.BinShift() - 1);
      if (BeginsAt(one, l)) {
        const BlockCut cut(count);
        for (std::size_t b = 0; b < cut.count(); ++b) {
          blocks.push_back({.states = at[l],
                            .words = sizes[l]->bytes,
                            .tail = sizes[l]->tail,
                            .count = static_cast<std::uint32_t>(cut.Size(b)),
                            .first = static_cast<std::uint32_t>(cut.Begin(b)),
                            .run = static_cast<std::uint32_t>(runs.size()),
                            .table = one.table});
          at[l] += (sizes[l]++)->BlockBytes();
        }
      }
      for (std::size_t p = 0; p < PlanesIn(one, l); ++p) {
        run.plane[run.planes++] = at[l];
        at[l] += PlaneBytes(one, shape_.tokens);
      }
    }
    runs.push_back(run);
  }
}

std::span<const std::uint8_t> NestedDirectory::Exponents(std::size_t strip) const {
  return exponents_[strip];
}

}  // namespace kdn::codec
