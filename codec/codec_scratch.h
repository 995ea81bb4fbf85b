// Memory that coding needs and a caller keeps: one per thread, grows to a few times a tile.
//
// Thread-safety: not safe; one call at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/nested.h"
#include "codec/residual.h"

namespace kdn::codec {

struct CodecScratch {
  std::vector<std::byte> bytes;
  // Of the lossy levels.
  NestedScratch nested;
  ResidualScratch residual;
  std::vector<float> floats;
  std::vector<float> turns;
  std::vector<std::int8_t> codes;
  std::vector<std::byte> values;
  std::vector<std::byte> predicted;
};

}  // namespace kdn::codec
