// The arithmetic between matrix products, row by row. Each instruction set fills one table; sums
// run in an order that depends on the row's length alone, so a table gives the same bits for the
// same numbers wherever they lie. Tables differ from each other in the last bits.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kdn::llama {

// Of a row of scores that is seen block by block (online softmax).
struct SoftmaxState {
  float max = -3.0e38F;
  float sum = 0.0F;
};

struct Kernels {
  std::string_view name;

  // out[i] = x[i] · weight[i] / sqrt(mean(x²) + epsilon)
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::size_t count,
                   float* out);
  // out[i] = silu(gate[i]) · up[i]
  void (*swiglu)(const float* gate, const float* up, std::size_t count, float* out);
  // Replaces the first `visible` scores by exp(score − max) and the rest, to `count`, by 0. Returns
  // what sums of earlier blocks must be multiplied with, now that the maximum may have risen.
  // Requires: 0 < visible <= count.
  float (*softmax_block)(float* scores, std::size_t visible, std::size_t count,
                         SoftmaxState& state);
  // x[i] *= factor
  void (*scale)(float* x, float factor, std::size_t count);
  // x[i] += y[i]
  void (*add)(float* x, const float* y, std::size_t count);
  // Rotates a head of 2·half values by the angles whose cosines and sines are given, channel i with
  // channel i + half, and multiplies with `factor`. `out` may be `in`.
  void (*rotate)(const float* in, const float* cos_sin, std::size_t half, float factor, float* out);
  // Rounds to nearest even; NaN stays NaN.
  void (*narrow_bf16)(const float* in, std::size_t count, std::uint16_t* out);
  void (*widen_bf16)(const std::uint16_t* in, std::size_t count, float* out);
};

extern const Kernels kGenericKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

// The tables this CPU can run, slowest first; the first is kGenericKernels.
[[nodiscard]] std::vector<const Kernels*> SupportedKernels();

// The fastest supported table if `wanted` is empty, else the one of that name. kNotFound for a name
// that is none, kFailedPrecondition for one that this CPU cannot run.
[[nodiscard]] Result<const Kernels*> SelectKernels(std::string_view wanted);

}  // namespace kdn::llama
