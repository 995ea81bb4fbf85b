// Where the pieces of a kResidual tile lie: its directory read and checked on the host, for a
// launch that reads the same bytes elsewhere.
//
// Accepts what ResidualDecoder::Open() accepts. docs/codec.md specifies the bytes. Thread-safety:
// not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "codec/lane/launch_plan.h"
#include "codec/lean_blocks.h"
#include "codec/rans_model.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

class ResidualDirectory {
 public:
  struct Strip {
    RansModel model;
    std::vector<LeanSize> sizes;
    // Where the launch finds them.
    const std::byte* spreads = nullptr;
    const std::byte* blocks = nullptr;
    const std::byte* bits = nullptr;
    const std::byte* escapes = nullptr;
    std::uint32_t bits_bytes = 0;
    std::uint32_t escapes_bytes = 0;
  };

  explicit ResidualDirectory(const TileShape& shape) : shape_(shape) {}

  // False if the bytes are not such a tile. Keeps nothing of `tile`; `bytes_dev` is where the
  // launch finds it, a multiple of 4.
  [[nodiscard]] bool Open(ConstBytes tile, const std::byte* bytes_dev);

  [[nodiscard]] const Strip& strip(std::size_t s) const { return strips_[s]; }
  // The strip's symbols as one run, and its blocks; LaneBlock::table is not set.
  void Describe(std::size_t strip, std::vector<LaneRun>& runs,
                std::vector<LaneBlock>& blocks) const;

 private:
  const TileShape shape_;
  std::vector<Strip> strips_;
};

// The table of one strip's symbols.
[[nodiscard]] LaneTable SymbolTableOf(const RansModel& model);

}  // namespace kdn::codec
