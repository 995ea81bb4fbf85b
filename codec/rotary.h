// Rotary position embedding: the angles of a model's channel pairs, and their cosines and sines.
//
// The same on every machine, bit for bit, but for the last bit of a frequency, which std::pow may
// round otherwise: sines are computed here with double-precision additions and multiplications in
// a fixed order, and never by the system's mathematical library.
//
// Thread-safety: immutable after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

// Positions of tokens are below this: angles are exact up to there.
inline constexpr std::uint64_t kPositionsMax = std::uint64_t{1} << 29;

class RotaryAngles {
 public:
  // kUnimplemented for dynamic NTK, whose angles depend on the length of the sequence.
  // Scaling is as in Hugging Face transformers, modeling_rope_utils.py; YaRN's beta_slow and
  // beta_fast are low_frequency_factor and high_frequency_factor, and its attention factor, which
  // does not turn anything, is not looked at.
  static Result<RotaryAngles> Make(const Rotary& rotary);

  // Pairs of channels, dims / 2.
  [[nodiscard]] std::size_t pairs() const { return frequencies_.size(); }
  // Radians per position of each pair.
  [[nodiscard]] const std::vector<double>& frequencies() const { return frequencies_; }

  // Writes the rows of positions first, ..., first + count - 1: pairs() cosines, then pairs() sines
  // each, within half a unit in the last place and 1e-7. Requires: positions below kPositionsMax.
  void FillRows(std::uint64_t first, std::size_t count, float* rows) const;

 private:
  explicit RotaryAngles(std::vector<double> frequencies);

  // A position is kStride · a + b: the rotation by kStride · a positions is computed, that by b is
  // read from this table, and their product is the row.
  static constexpr std::size_t kStride = 64;
  std::vector<double> frequencies_;
  std::vector<double> small_;  // kStride rows of cosines and sines
};

// Cosine and sine of `angle` radians, |angle| < 2^29, to about 1e-16.
struct CosSin {
  double cosine;
  double sine;
};
[[nodiscard]] CosSin CosSinOf(double angle);

}  // namespace kdn::codec
