// Memory that coding needs and a caller keeps: one per thread, grows to a few times a tile and,
// where several levels are encoded, to an object.
//
// Thread-safety: not safe; one call at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/nested.h"
#include "codec/residual.h"
#include "proto/object/levels.h"

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
  std::array<std::vector<std::byte>, kLevelCount> levels;
  // Rows of RotaryAngles for the object that is being encoded, of so many dims; 0: none yet.
  std::vector<float> object_turns;
  std::size_t object_turn_dims = 0;
};

}  // namespace kdn::codec
