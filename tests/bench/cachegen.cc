#include "tests/bench/cachegen.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "tests/bench/torchac_coder.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kStreamTokens = 256;  // what one stream of a channel covers at most
constexpr std::size_t kMistralLayers = 32;

// Of `layers` layers, those that stand where Mistral's first `border` stand.
bool Before(std::size_t layer, std::size_t layers, std::size_t border) {
  return layer * kMistralLayers < border * layers;
}

// One layer of keys or values as CacheGen takes it: [token][channel], channels of all heads.
struct LayerRows {
  std::size_t tokens;
  std::size_t heads;
  std::size_t head_size;
  [[nodiscard]] std::size_t channels() const { return heads * head_size; }
  // Where a channel's value of a token lies in the layer's part of a ChunkMemory.
  [[nodiscard]] std::size_t At(std::size_t token, std::size_t channel) const {
    return (channel / head_size * tokens + token) * head_size + channel % head_size;
  }
};

void CodeLayer(const LayerRows& rows, std::span<const std::uint16_t> words, unsigned bins,
               std::size_t entries, std::span<std::uint16_t> out, CachegenBytes& bytes) {
  const std::size_t channels = rows.channels();
  std::vector<float> values(rows.tokens * channels);
  for (std::size_t t = 0; t < rows.tokens; ++t) {
    for (std::size_t c = 0; c < channels; ++c)
      values[t * channels + c] = FromBf16(words[rows.At(t, c)]);
  }
  std::vector<std::uint8_t> symbols(values.size());
  std::vector<float> scales(rows.tokens);
  TorchacQuantise(values, rows.tokens, channels, bins, symbols, scales);
  std::vector<std::byte> code;
  std::vector<std::uint8_t> decoded(rows.tokens);
  for (std::size_t c = 0; c < channels; ++c) {
    const auto lane = std::span<const std::uint8_t>(symbols).subspan(c * rows.tokens, rows.tokens);
    TorchacTable table;
    TorchacFillTable(lane, table);
    for (std::size_t t = 0; t < rows.tokens; t += kStreamTokens) {
      const auto part = lane.subspan(t, std::min(kStreamTokens, rows.tokens - t));
      code.clear();
      TorchacEncode(table, part, code);
      bytes.streams += static_cast<double>(code.size());
      bytes.lengths += 4.0;
      TorchacDecode(table, code, std::span(decoded).subspan(t, part.size()));
    }
    if (!std::ranges::equal(decoded, lane)) {
      std::fprintf(stderr, "the arithmetic coder does not give back what it was given\n");
      std::exit(2);
    }
    for (std::size_t t = 0; t < rows.tokens; ++t) {
      out[rows.At(t, c)] = ToBf16(TorchacValue(decoded[t], scales[t], bins));
    }
  }
  bytes.distributions += 2.0 * static_cast<double>(entries * channels);
  bytes.scales += 2.0 * static_cast<double>(rows.tokens);
}

}  // namespace

CachegenBins LmcacheBins(std::size_t layers) {
  CachegenBins bins{std::vector<int>(layers, 32), std::vector<int>(layers, 32)};
  for (std::size_t l = 0; layers >= 10 && l < layers; ++l) {
    if (l >= 10) bins.keys[l] = 16;
    if (l >= 2) bins.values[l] = 16;
  }
  return bins;
}

CachegenBins ArtifactBins(int level, std::size_t layers) {
  CachegenBins bins{std::vector<int>(layers, 32), std::vector<int>(layers, 32)};
  for (std::size_t l = 0; l < layers && level < 3; ++l) {
    const bool first = Before(l, layers, 10);
    if (level == 2) {
      bins.keys[l] = first ? 32 : 16;
      bins.values[l] = Before(l, layers, 2) ? 32 : 16;
    } else {
      bins.keys[l] = first || Before(l, layers, 20) ? 16 : 12;
      bins.values[l] = Before(l, layers, 2) ? 16 : 12;
    }
  }
  return bins;
}

CachegenBytes& CachegenBytes::operator+=(const CachegenBytes& other) {
  streams += other.streams;
  distributions += other.distributions;
  lengths += other.lengths;
  scales += other.scales;
  return *this;
}

CachegenBytes CodeWithCachegen(const ChunkMemory& chunk, const CachegenBins& bins,
                               ChunkMemory& out) {
  const KvGroup& group = chunk.spec().groups[0];
  // The widest layer decides how long every distribution is.
  const auto entries = static_cast<std::size_t>(
      std::max(std::ranges::max(bins.keys), std::ranges::max(bins.values)) + 1);
  CachegenBytes bytes;
  for (std::size_t p = 0; p < 2; ++p) {
    const LayerRows rows{chunk.tokens(), group.kv_heads, chunk.HeadSize(p)};
    const std::size_t count = rows.tokens * rows.channels();
    for (std::size_t l = 0; l < group.layers.size(); ++l) {
      const int of_layer = p == 0 ? bins.keys[l] : bins.values[l];
      CodeLayer(rows, chunk.plane(p).subspan(l * count, count), static_cast<unsigned>(of_layer),
                entries, out.plane(p).subspan(l * count, count), bytes);
    }
  }
  return bytes;
}

}  // namespace kdn::bench
