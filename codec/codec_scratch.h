// Memory that coding needs and a caller keeps: one per thread, grows to a few times a tile and,
// where several levels are encoded, to an object.
//
// Thread-safety: not safe; one call at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/aligned_vector.h"
#include "codec/nested.h"
#include "codec/residual.h"
#include "proto/object/levels.h"

namespace kdn::codec {

// Cosines and sines of consecutive positions, kept for the next tile of the chunk.
struct Turns {
  std::vector<double> frequencies;
  std::uint64_t first = 0;
  std::vector<float> rows;
};

struct CodecScratch {
  std::vector<std::byte> bytes;
  // Of the lossy levels.
  NestedScratch nested;
  ResidualScratch residual;
  AlignedVector<float> floats;
  Turns turns;
  AlignedVector<std::int8_t> codes;
  std::vector<std::ptrdiff_t> rows;  // of each token
  AlignedVector<std::byte> values;
  AlignedVector<std::byte> predicted;
  std::array<AlignedVector<std::byte>, kLevelCount> levels;  // tiles of the object, by level
  // Rows of RotaryAngles for the object that is being encoded, of so many dims; 0: none yet.
  Turns object_turns;
};

}  // namespace kdn::codec
