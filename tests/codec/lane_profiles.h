// Profiles at random: every number of classes, starts, planes, orders and transforms that a profile
// may have, whether it is good for anything or not.
//
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <random>

#include "codec/profile.h"
#include "codec/tile_plan.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {

inline SymbolTable RandomTable(std::mt19937_64& random) {
  SymbolTable table;
  const auto count = static_cast<std::uint8_t>(2 + random() % 40);
  const auto first = static_cast<std::uint8_t>(kZeroSymbol - count / 2);
  table.model.count = count;
  unsigned left = 256;
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned rest = count - static_cast<unsigned>(i) - 1;
    const unsigned most = std::min(255U, left - rest);
    const unsigned share =
        rest == 0 ? left : 1 + static_cast<unsigned>(random() % most) / (2 + rest);
    table.model.symbol[i] = static_cast<std::uint8_t>(first + i);
    table.model.frequency[i] = static_cast<std::uint8_t>(share);
    left -= share;
    for (auto& level : table.reconstruction) level[i] = static_cast<std::int8_t>(random());
  }
  return table;
}

inline StripProfile RandomStrip(std::uint32_t size, std::size_t tables, std::mt19937_64& random,
                                bool at_draft) {
  StripProfile strip;
  for (std::uint32_t left = size; left > 0;) {
    ComponentClass one;
    one.width = static_cast<std::uint16_t>(16 * (1 + random() % (left / 16)));
    one.start = static_cast<std::uint8_t>(random() % (kLossyLevels + 1));
    if (at_draft && strip.classes.empty()) one.start = 0;
    one.planes = static_cast<std::uint8_t>(random() % 3);
    one.table = static_cast<std::uint16_t>(random() % tables);
    left -= one.width;
    strip.classes.push_back(one);
  }
  if (random() % 2 == 0) {
    strip.order.resize(size);
    std::iota(strip.order.begin(), strip.order.end(), std::uint16_t{0});
    std::shuffle(strip.order.begin(), strip.order.end(), random);
  }
  const std::uint16_t blocks[] = {1, 16, 32, 64};
  do {
    strip.block = blocks[random() % 4];
  } while (size % strip.block != 0);
  if (strip.block > 1) {
    for (std::size_t i = 0; i < std::size_t{size} * strip.block; ++i) {
      strip.matrix.push_back(static_cast<std::int8_t>(random()));
    }
  }
  for (std::uint32_t c = 0; c < size; ++c) {
    strip.mean.push_back(static_cast<float>(static_cast<std::int64_t>(random() % 200) - 100) / 64);
    strip.scale.push_back(static_cast<float>(1 + random() % 1000) / 30000 /
                          static_cast<float>(strip.block));
  }
  return strip;
}

// `at_draft`: of each head something is coded at draft, so that no level's tile is empty.
inline Profile RandomProfile(const ModelSpec& spec, std::uint64_t seed, bool at_draft = false) {
  std::mt19937_64 random(seed);
  Profile::Parts parts;
  for (int i = 0; i < 3; ++i) parts.tables.push_back(RandomTable(random));
  for (std::uint32_t layer = 0; layer < LayerCount(spec); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads; ++head) {
        parts.strips.push_back(
            RandomStrip(plane == 0 ? group.k_head_size : group.v_head_size, 3, random, at_draft));
      }
    }
  }
  Profile profile = Profile::Make(spec, std::move(parts)).value();
  if (!profile.FinishForEncoding().ok()) std::abort();
  profile.Name(NumberedProfileId(seed));
  return profile;
}

}  // namespace kdn::codec
