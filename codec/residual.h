// The tile scheme kResidual: what is between the values that fine decodes to and the engine's own
// bits.
//
// Words of one type are numbered in the order of their values (sign and magnitude become one
// ascending number). The number of a value, minus that of its prediction, is cut into a symbol,
// which is rANS-coded, and some raw bits below it, whose count follows from the prediction's
// exponent and from how far the channel's values are off. docs/codec.md specifies the bytes.
//
// Thread-safety: pure functions; scratch belongs to the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "codec/aligned_vector.h"
#include "codec/kernels/kernels.h"
#include "codec/lean_blocks.h"
#include "codec/open_tile.h"
#include "codec/rans_model.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

struct ResidualScratch {
  AlignedVector<std::uint8_t> symbols;
  AlignedVector<std::byte> block;
  std::vector<RansBlock> blocks;
  std::vector<std::int8_t> spreads;
  AlignedVector<std::byte> bits;
  AlignedVector<std::byte> escapes;
  std::vector<std::byte> directory;
};

// Codes a tile strip by strip.
class ResidualEncoder {
 public:
  // Appends a tile to `buffer`, which holds a multiple of kBlockAlignment bytes.
  ResidualEncoder(const Kernels& kernels, const TileShape& shape, AlignedVector<std::byte>& buffer,
                  ResidualScratch& scratch);
  // The next strip's values in value order.
  void Add(ConstBytes predicted, ConstBytes actual);
  // Once all strips are added: where the tile is.
  TileExtent Finish() { return tile_.Finish(scratch_.directory); }

 private:
  const Kernels& kernels_;
  const TileShape& shape_;
  ResidualScratch& scratch_;
  OpenTile tile_;
};

// One strip after another, those that are wanted.
class ResidualDecoder {
 public:
  ResidualDecoder(const Kernels& kernels, const TileShape& shape, ResidualScratch& scratch)
      : kernels_(kernels), shape_(shape), scratch_(scratch) {}

  // False if the bytes are not such a tile. They must stay until decoding ends.
  [[nodiscard]] bool Open(ConstBytes tile);
  // Turns the predicted values of strip s, in value order, into the actual ones; false if the strip
  // does not decode, and the values are then unspecified.
  [[nodiscard]] bool DecodeStrip(std::size_t strip, MutableBytes values);

 private:
  struct StripView {
    ConstBytes spreads;  // of each channel, one signed byte
    RansTable table;
    std::vector<LeanSize> sizes;
    const std::byte* blocks = nullptr;
    ConstBytes bits;
    ConstBytes escapes;
  };
  const Kernels& kernels_;
  const TileShape& shape_;
  ResidualScratch& scratch_;
  std::vector<StripView> strips_;
  const std::byte* end_ = nullptr;
};

}  // namespace kdn::codec
