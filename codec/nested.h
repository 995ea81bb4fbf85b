// The tile scheme kNested: a lossy level of one tile. A coarser level's symbols are refined by raw
// bits, never repeated: the tiles of draft, standard and fine together are fine's.
//
// Works on strips of floats that have been freed of their rotary position. docs/codec.md specifies
// the bytes.
//
// Thread-safety: pure functions; scratch belongs to the call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/aligned_vector.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"
#include "codec/lean_blocks.h"
#include "codec/open_tile.h"
#include "codec/profile.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

// How one strip is coded: out of a profile, or as its own draft tile says.
struct StripCoding {
  const StripProfile* profile = nullptr;
  std::span<const SymbolCoder> coders;  // by ComponentClass::table
};

// What profile-less tiles bring along. Kept by whoever decodes, for as long as StripCodings are.
struct OwnCodings {
  std::vector<StripProfile> strips;
  std::vector<SymbolCoder> coders;
};

// Scratch of one encoding or decoding thread; grows to a few times a tile's values.
struct NestedScratch {
  AlignedVector<std::uint8_t> symbols;
  AlignedVector<std::int8_t> codes;
  std::vector<std::uint8_t> exponents;
  std::vector<ClassQuantiser> classes;
  AlignedVector<std::byte> block;
  std::vector<RansBlock> blocks;
  std::vector<StripCoding> codings;
  OwnCodings own;
  std::array<std::vector<std::byte>, kLossyLevels> directory;
  std::vector<OpenTile> tiles;
};

// Codings for values without a profile: every channel's mean and spread are measured, all share one
// table. `strip(s)` are the floats of strip s, [token][channel]. Rounds what it measures to what a
// tile can say.
void MeasureCodings(const TileShape& shape, std::span<const float> values, OwnCodings& own);
[[nodiscard]] std::vector<StripCoding> CodingsOf(const OwnCodings& own);

// Codes a tile strip by strip, so that each one's values are coded while they are in a cache.
class NestedEncoder {
 public:
  // `codings`: one a strip, of a profile that is FinishForEncoding(); empty: they are measured, and
  // the draft tile brings them. Codes levels draft to as many as there are `buffers`, to each of
  // which a level's tile is appended; they hold multiples of kBlockAlignment bytes.
  NestedEncoder(const Kernels& kernels, const TileShape& shape,
                std::span<const StripCoding> codings, std::span<AlignedVector<std::byte>> buffers,
                NestedScratch& scratch);

  // The next strip, [token][channel]. `codes`: out, the strip_values() codes that a decoder of fine
  // will have.
  void Add(const float* values, std::int8_t* codes);
  // Of a strip that was added.
  [[nodiscard]] const StripProfile& ProfileOf(std::size_t strip) const {
    return *scratch_.codings[strip].profile;
  }
  [[nodiscard]] const std::uint8_t* ExponentsOf(std::size_t strip) const {
    return scratch_.exponents.data() + strip * shape_.tokens;
  }

  // Once all strips are added: where the tiles are, by level.
  std::array<TileExtent, kLossyLevels> Finish();

 private:
  [[nodiscard]] Analysis PrepareClasses(const StripCoding& coding);
  [[nodiscard]] std::size_t DirectoryMax(std::size_t level) const;
  [[nodiscard]] std::uint8_t* SymbolsOf(std::size_t strip) const;
  void AppendExponents(std::size_t strip);
  void AppendLevel(std::size_t strip, std::size_t level);

  const Kernels& kernels_;
  const TileShape& shape_;
  const bool measures_;
  NestedScratch& scratch_;
  std::size_t added_ = 0;
  Histogram histogram_{};  // of what is measured
};

// Codes all strips at levels draft to what `levels` counts, one tile a level.
// `inline_codings`: they are those of MeasureCodings(), and the draft tile brings them. Requires:
// profiles are FinishForEncoding().
void EncodeNested(const TileShape& shape, std::span<const float> values,
                  std::span<const StripCoding> codings, bool inline_codings, std::size_t levels,
                  const Kernels& kernels, std::array<std::vector<std::byte>, kLossyLevels>& tiles,
                  NestedScratch& scratch);

// One tile after another is opened, draft first; then strips are decoded at the last one's level.
class NestedDecoder {
 public:
  // `codings`: one a strip, of the profile; empty: the draft tile must bring them.
  NestedDecoder(const Kernels& kernels, const TileShape& shape,
                std::span<const StripCoding> codings, NestedScratch& scratch);

  // False if the bytes are not a tile of the next level. They must stay until decoding ends.
  [[nodiscard]] bool Open(ConstBytes tile);
  // Decodes the symbols of the strips s with wanted[s] != 0; false if some do not decode.
  [[nodiscard]] bool DecodeSymbols(std::span<const std::uint8_t> wanted);
  // Codes of some tokens of a strip whose symbols were decoded, [token][channel]. Requires: `first`
  // is a multiple of 4.
  void FillCodes(std::size_t strip, std::size_t first, std::size_t tokens,
                 std::int8_t* codes) const;
  // Of all tokens of the strip; null: all 0.
  [[nodiscard]] const std::uint8_t* Exponents(std::size_t strip) const;
  [[nodiscard]] const StripProfile& ProfileOf(std::size_t strip) const {
    return *codings_[strip].profile;
  }
  [[nodiscard]] std::size_t level() const { return open_ - 1; }  // of the last tile opened

 private:
  struct LevelView {
    std::vector<const std::byte*> strips;  // where each strip's data begins
    std::vector<LeanSize> sizes;           // of the blocks, strip by strip, class by class
    std::vector<std::size_t> first_size;   // index into `sizes` of each strip
    const std::byte* end = nullptr;

    [[nodiscard]] LeanRun Begin(std::size_t strip) const {
      return {strips[strip], sizes.data() + first_size[strip]};
    }
  };
  [[nodiscard]] bool ReadOwn(ByteReader& in);
  [[nodiscard]] bool ReadExponents(ByteReader& in, std::size_t strip);
  void AddBlocks(std::size_t strip);

  const Kernels& kernels_;
  const TileShape& shape_;
  std::span<const StripCoding> codings_;
  NestedScratch& scratch_;
  std::array<LevelView, kLossyLevels> levels_;
  std::size_t open_ = 0;
  bool any_exponent_ = false;
};

}  // namespace kdn::codec
