// What a model's KV values look like, learned once and shared by all of its chunks: how to bring
// the values of a head into components of known spread, and how to code those. A profile never
// changes: its id is the SHA-256 of its bytes, which whoever stores or fetches it computes and
// tells.
//
// Without a profile each tile brings its own (codec/nested.h), which costs bytes.
//
// docs/codec.md has the bytes. Thread-safety: immutable after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "codec/rans_model.h"
#include "proto/object/header.h"
#include "proto/object/levels.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

inline constexpr std::size_t kLossyLevels = 3;      // draft, standard, fine
inline constexpr std::size_t kClassWidthUnit = 16;  // components
inline constexpr std::size_t kMatrixBlockMax = 128;
inline constexpr std::size_t kTablesMax = 16'384;  // of a profile
inline constexpr unsigned kTokenExponentMax = 15;

// Width of a quantiser's bin in code units is 2^(kFineShift + 2 - level) at each level: 8 units at
// draft, 4 at standard, 2 at fine. Codes have 8 bits and a sign.
inline constexpr unsigned kFineShift = 1;

// How the symbols of a class are coded. Symbol s stands for the bin around (s - kZeroSymbol) bin
// widths; symbols are consecutive.
inline constexpr std::uint8_t kZeroSymbol = 32;
struct SymbolTable {
  RansModel model;
  // What each of model.symbol[] stands for at each level, in code units, when the bits of the raw
  // planes read so far are zero.
  std::array<std::array<std::int8_t, kRansSymbolsMax>, kLossyLevels> reconstruction{};
};

// The rANS tables of a SymbolTable and its reconstruction, ready for the kernels.
struct SymbolCoder {
  RansTable decode;
  RansEncodeTable encode;
  std::array<std::array<std::int8_t, 64>, kLossyLevels> lut{};
  std::uint8_t first_symbol = 0;
  std::uint8_t last_symbol = 0;
};
void FillCoder(const SymbolTable& table, SymbolCoder& coder);

// `width` consecutive components that share all else.
struct ComponentClass {
  std::uint16_t width = 0;  // a multiple of kClassWidthUnit
  std::uint8_t start = 0;   // the level that codes them first; kLossyLevels: none does
  std::uint8_t planes = 0;  // raw planes at that level; each later one adds one
  std::uint16_t table = 0;

  // Raw planes known at `level`; the bin of a symbol is 2^BinShift() code units wide.
  [[nodiscard]] unsigned PlanesAt(unsigned level) const { return planes + (level - start); }
  [[nodiscard]] unsigned BinShift() const {
    return kFineShift + static_cast<unsigned>(kLossyLevels) - 1 - start + planes;
  }
};

// One layer, KV head and plane.
struct StripProfile {
  std::vector<ComponentClass> classes;  // in component order; widths add up to the head size
  // Component k of the transform is coded as number order[k]; empty: k.
  std::vector<std::uint16_t> order;
  // 1: component k is channel k. Else values of channels b · block ... are `block` x `block`
  // integer combinations of those components: matrix[c · block + k], row by row.
  std::uint16_t block = 1;
  std::vector<std::int8_t> matrix;
  std::vector<float> mean;   // of each channel
  std::vector<float> scale;  // value of one code unit, of each channel

  // Made from the above by Finish(), for matrices: codec/kernels/kernels.h, Synthesis.
  struct LiveColumns {
    std::vector<std::uint16_t> columns;
    std::vector<std::int32_t> row_sums;
  };
  std::vector<std::int8_t> tiled;
  std::vector<std::uint16_t> tiled_order;
  std::array<LiveColumns, kLossyLevels> live;  // of each level
  void Finish();
  // What leads back from values to codes, made by FinishForEncoding(): code = inverse · (x - mean),
  // block by block; for block 1 one number a channel. Blocks lie column by column, as
  // codec/kernels/encode_kernels.h, Analysis, has them. False if the matrix has no inverse.
  std::vector<float> inverse;
  bool FinishForEncoding();

 private:
  // `column`: of the matrix, within its block, for each column of `tiled`.
  void FindLiveColumns(std::size_t level, std::span<const std::uint16_t> column);
};

// kDataLoss unless the strip is one that a decoder can use for `head_size` channels with `tables`.
[[nodiscard]] Status CheckStrip(const StripProfile& strip, std::uint32_t head_size,
                                std::size_t tables);

class Profile {
 public:
  struct Parts {
    ModelFingerprint model;
    std::vector<SymbolTable> tables;
    std::vector<StripProfile> strips;  // by layer, plane, head: StripNumber()
  };
  // kInvalidArgument unless there is a good strip for each layer, plane and head of the model.
  static Result<Profile> Make(const ModelSpec& spec, Parts parts);
  // kDataLoss for bytes that Encode() would not have written for this model; kUnimplemented for a
  // newer version. Any bytes are safe; no more is allocated than a few times their size.
  static Result<Profile> Decode(const ModelSpec& spec, ConstBytes bytes);

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  // What objects that are coded with it name; zeros until Name(), and then nothing can be coded or
  // decoded with it. Objects that name another one are refused instead of decoded to wrong values.
  [[nodiscard]] const ProfileId& id() const { return id_; }
  void Name(const ProfileId& id) { id_ = id; }
  [[nodiscard]] const ModelFingerprint& model() const { return parts_.model; }
  [[nodiscard]] std::span<const SymbolCoder> coders() const { return coders_; }  // of the tables
  // `plane`: index into the group's planes, as PagedKv has them.
  [[nodiscard]] const StripProfile& strip(std::uint32_t layer, std::size_t plane,
                                          std::uint32_t head) const {
    return parts_.strips[first_strip_[layer][plane] + head];
  }
  // Whether there are strips of `head_size` channels for all of these; any numbers are safe.
  [[nodiscard]] bool Has(const Range& layers, std::size_t plane, const Range& heads,
                         std::uint32_t head_size) const;
  // Before the first Encode() with this profile. kInvalidArgument if a strip cannot be encoded.
  Status FinishForEncoding();

 private:
  Profile() = default;
  ProfileId id_;
  Parts parts_;
  std::vector<SymbolCoder> coders_;
  std::vector<std::array<std::size_t, 3>> first_strip_;  // of each plane of a layer, and their end
  std::vector<std::byte> bytes_;
};

}  // namespace kdn::codec
