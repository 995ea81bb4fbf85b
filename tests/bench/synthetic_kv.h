// Keys and values that nobody computed, of the shapes of well-known models.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "proto/object/model_spec.h"
#include "tests/bench/level_chunks.h"

namespace kdn::bench {

// Model shapes with so many of their layers, which are all alike. Keys turn as the model's do.
[[nodiscard]] ModelSpec Llama8bShape(std::uint16_t layers);     // 8 heads of 128
[[nodiscard]] ModelSpec Qwen7bShape(std::uint16_t layers);      // 4 heads of 128
[[nodiscard]] ModelSpec DeepSeekV3Shape(std::uint16_t layers);  // MLA: latent of 512, rope of 64

enum class Spread : std::uint8_t {
  kGaussian,     // channels of spread exp(N(0, 0.5))
  kHeavyTailed,  // Student's t with 4 degrees of freedom, channels as above
  kOutliers,  // Gaussian; of every 64 channels one is 30 times as wide and one stands 50 off zero
};
inline constexpr Spread kAllSpreads[] = {Spread::kGaussian, Spread::kHeavyTailed,
                                         Spread::kOutliers};
[[nodiscard]] const char* SpreadName(Spread spread);

// Fills the chunk, its tokens standing at first_position and after. What a channel is like depends
// on the spec's name and the spread alone, so that another seed gives other tokens of one model.
void FillSynthetic(Spread spread, std::uint64_t seed, std::uint64_t first_position,
                   ChunkMemory& chunk);

}  // namespace kdn::bench
