// Where the runs of a kBytePlanes tile lie: its directory read and checked on the host, for a
// launch that reads the same bytes elsewhere.
//
// Accepts what DecodeBytePlanes() accepts, as far as a directory and padding tell. docs/codec.md
// specifies the bytes. Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "codec/lane/launch_plan.h"
#include "codec/plane_layout.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"
#include "codec/tile_shape.h"

namespace kdn::codec {

class PlanesDirectory {
 public:
  explicit PlanesDirectory(const TileShape& shape);

  // False if the bytes are not such a tile. Keeps nothing of `tile`; `bytes_dev` is where the
  // launch finds it.
  [[nodiscard]] bool Open(ConstBytes tile, const std::byte* bytes_dev);

  // The strip's planes, one run each, and the blocks of all of them; LaneBlock::table is an index
  // into models().
  void Describe(std::size_t strip, std::vector<LaneRun>& runs,
                std::vector<LaneBlock>& blocks) const;
  [[nodiscard]] const std::vector<RansModel>& models() const { return models_; }

 private:
  struct Run {
    LaneRunMode mode = LaneRunMode::kRaw;
    std::uint8_t value = 0;
    std::size_t model = 0;
    std::size_t first_word = 0;
    const std::byte* data = nullptr;
  };
  [[nodiscard]] bool ReadPlane(ByteReader& in, unsigned bits);

  const TileShape shape_;
  const std::span<const PlaneLayout> layouts_;
  const BlockCut cut_;
  std::vector<RansModel> models_;
  std::vector<std::uint16_t> words_;
  std::vector<Run> runs_;  // plane by plane
};

}  // namespace kdn::codec
