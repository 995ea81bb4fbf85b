// Where the pieces of a place's kNested tiles lie: directories read and checked on the host, for a
// launch that reads the same bytes elsewhere.
//
// Accepts what NestedDecoder::Open() accepts. docs/codec.md specifies the bytes. Thread-safety: not
// safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/lane/launch_plan.h"
#include "codec/lean_blocks.h"
#include "codec/nested.h"
#include "codec/profile.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

class NestedDirectory {
 public:
  // `codings`: one a strip, of the profile, which must stay; empty: the draft tile brings them.
  NestedDirectory(const TileShape& shape, std::vector<StripCoding> codings);

  // The next level's tile, draft first; `bytes_dev` is where the launch finds it. False if the
  // bytes are not such a tile. Looks at the directory alone; keeps nothing of `tile`.
  [[nodiscard]] bool Open(ConstBytes tile, const std::byte* bytes_dev);

  // Levels opened so far.
  [[nodiscard]] std::size_t levels() const { return open_; }
  // A strip at the last level that was opened: a run for each class, and the blocks of all runs;
  // LaneBlock::table is the number of the class's table.
  void Describe(std::size_t strip, std::vector<LaneRun>& runs,
                std::vector<LaneBlock>& blocks) const;
  // Of the strip's tokens; empty: all 0.
  [[nodiscard]] std::span<const std::uint8_t> Exponents(std::size_t strip) const;

  // What the draft tile brought, if it had to.
  [[nodiscard]] bool own() const { return own_numbers_ != nullptr; }
  [[nodiscard]] const SymbolCoder& own_coder() const { return own_coder_; }
  // Means, then scales, as bf16.
  [[nodiscard]] const std::byte* OwnNumbers(std::size_t strip) const {
    return own_numbers_ + strip * 4 * shape_.head_size;
  }

 private:
  struct LevelView {
    std::vector<const std::byte*> strips;  // where each strip's data begins
    std::vector<LeanSize> sizes;           // of the blocks, strip by strip, class by class
    std::vector<std::size_t> first_size;   // index into `sizes` of each strip
  };
  [[nodiscard]] bool ReadOwn(ByteReader& in, ConstBytes tile, const std::byte* bytes_dev);
  [[nodiscard]] bool ReadExponents(ByteReader& in, std::size_t strip);
  [[nodiscard]] bool ReadSizes(ByteReader& in, std::size_t strip);
  [[nodiscard]] std::size_t StripBytes(std::size_t strip) const;

  const TileShape shape_;
  std::vector<StripCoding> codings_;
  StripProfile own_strip_;
  SymbolCoder own_coder_;
  const std::byte* own_numbers_ = nullptr;
  std::array<LevelView, kLossyLevels> levels_;
  std::size_t open_ = 0;
  std::vector<std::vector<std::uint8_t>> exponents_;  // by strip; empty: all 0
};

}  // namespace kdn::codec
