// Cosines and sines of the rotary positions, computed once per position in double precision.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/object/model_spec.h"

namespace kdn::llama {

// Angle per position of each pair of channels, dims / 2 of them, after scaling none, linear or
// llama3 (Hugging Face transformers, modeling_rope_utils.py).
[[nodiscard]] std::vector<double> InverseFrequencies(const Rotary& rotary);

class RotaryTable {
 public:
  explicit RotaryTable(const Rotary& rotary) : inverse_(InverseFrequencies(rotary)) {}

  // Makes Row() valid for positions below `count`. Rows asked for before may move.
  void Extend(std::size_t count);

  // dims / 2 cosines, then dims / 2 sines. Requires: Extend(position + 1) or more.
  [[nodiscard]] const float* Row(std::size_t position) const {
    return rows_.data() + position * 2 * inverse_.size();
  }

 private:
  std::vector<double> inverse_;
  std::vector<float> rows_;
};

}  // namespace kdn::llama
