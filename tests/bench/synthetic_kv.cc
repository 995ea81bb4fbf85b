#include "tests/bench/synthetic_kv.h"

#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "codec/rotary.h"

namespace kdn::bench {
namespace {

constexpr double kDegrees = 4.0;  // of freedom of Student's t
constexpr std::size_t kOutlierEvery = 64;
constexpr float kWide = 30.0F;
constexpr float kOff = 50.0F;

ModelSpec Shape(const char* name, std::uint16_t layers, KvGroup group, const Rotary& rotary) {
  ModelSpec spec;
  spec.name = name;
  for (std::uint16_t l = 0; l < layers; ++l) group.layers.push_back(l);
  spec.groups.push_back(std::move(group));
  spec.rotary = rotary;
  return spec;
}

// What the channels of one strip are like.
struct Channel {
  float mean = 0.0F;
  float spread = 1.0F;
};

void TurnStrip(const ModelSpec& spec, std::uint64_t first_position, std::size_t tokens,
               std::size_t size, std::vector<float>& strip) {
  const std::size_t dims = spec.rotary.dims;
  const codec::RotaryAngles angles = codec::RotaryAngles::Make(spec.rotary).value();
  std::vector<float> turns(dims * tokens);
  angles.FillRows(first_position, tokens, turns.data());
  const bool halves = spec.rotary.pairing == RotaryPairing::kNeox;
  for (std::size_t t = 0; t < tokens; ++t) {
    float* x = strip.data() + t * size;
    const float* turn = turns.data() + t * dims;
    for (std::size_t i = 0; i < dims / 2; ++i) {
      float& a = x[halves ? i : 2 * i];
      float& b = x[halves ? i + dims / 2 : 2 * i + 1];
      const float old = a;
      a = old * turn[i] - b * turn[dims / 2 + i];
      b = b * turn[i] + old * turn[dims / 2 + i];
    }
  }
}

}  // namespace

ModelSpec Llama8bShape(std::uint16_t layers) {
  return Shape("shape of Llama-3.1-8B", layers,
               {.layers = {}, .kv_heads = 8, .k_head_size = 128, .v_head_size = 128},
               {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 500000.0});
}
ModelSpec Qwen7bShape(std::uint16_t layers) {
  return Shape("shape of Qwen2.5-7B", layers,
               {.layers = {}, .kv_heads = 4, .k_head_size = 128, .v_head_size = 128},
               {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 1000000.0});
}
ModelSpec DeepSeekV3Shape(std::uint16_t layers) {
  return Shape("shape of DeepSeek-V3", layers,
               {.attention = AttentionKind::kLatent,
                .layers = {},
                .kv_heads = 1,
                .k_head_size = 512,
                .v_head_size = 64},
               {.pairing = RotaryPairing::kGptJ, .dims = 64, .base = 10000.0});
}

const char* SpreadName(Spread spread) {
  switch (spread) {
    case Spread::kGaussian:
      return "Gaussian";
    case Spread::kHeavyTailed:
      return "heavy tails";
    case Spread::kOutliers:
      return "outliers";
  }
  return "";
}

void FillSynthetic(Spread spread, std::uint64_t seed, std::uint64_t first_position,
                   ChunkMemory& chunk) {
  const ModelSpec& spec = chunk.spec();
  const bool latent = spec.groups[0].attention == AttentionKind::kLatent;
  // The same channels whatever the seed of the tokens.
  std::mt19937_64 model_random(std::hash<std::string>()(spec.name));
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::chi_squared_distribution<double> chi(kDegrees);
  const std::size_t tokens = chunk.tokens();
  std::vector<float> strip;
  for (std::size_t p = 0; p < 2; ++p) {
    const std::size_t size = chunk.HeadSize(p);
    std::vector<Channel> channels(size);
    strip.resize(tokens * size);
    for (std::size_t at = 0; at < chunk.plane(p).size(); at += strip.size()) {
      for (std::size_t c = 0; c < size; ++c) {
        channels[c] = {0.5F * normal(model_random), std::exp(0.5F * normal(model_random))};
        if (spread != Spread::kOutliers) continue;
        if (c % kOutlierEvery == 7) channels[c].spread *= kWide;
        if (c % kOutlierEvery == 20) channels[c].mean = kOff;
      }
      for (std::size_t i = 0; i < strip.size(); ++i) {
        float x = normal(random);
        if (spread == Spread::kHeavyTailed) {
          x *= static_cast<float>(std::sqrt(kDegrees / chi(random)));
        }
        strip[i] = channels[i % size].mean + channels[i % size].spread * x;
      }
      const bool turned = p == (latent ? 1 : 0);
      if (turned) TurnStrip(spec, first_position, tokens, size, strip);
      for (std::size_t i = 0; i < strip.size(); ++i) chunk.plane(p)[at + i] = ToBf16(strip[i]);
    }
  }
}

}  // namespace kdn::bench
