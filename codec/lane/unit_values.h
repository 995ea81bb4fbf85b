// A unit, from its blocks to the engine's rows: who of a team of warps does what.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/unit_lanes.h"
#include "codec/lane/value_lanes.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// Tokens `first` to `end` of a window, by thread `thread` of `threads`.
struct TokenShare {
  std::uint32_t first;
  std::uint32_t end;
  unsigned thread;
  unsigned threads;
};

// What is the same for all of a token's channels.
struct TokenRow {
  std::byte* row;
  const float* turns;
};
KDN_HOST_DEVICE inline TokenRow RowOf(const UnitWork& work, std::uint32_t token) {
  const std::uint32_t t = work.unit->first_token + token;
  const std::size_t turns = std::size_t{t} * work.strip->turn_stride;
  return {work.head + work.At<std::int64_t>(work.strip->rows)[t],
          work.At<float>(work.strip->turns) + turns};
}

// A pair of slots, turned, as words.
template <class Type>
KDN_HOST_DEVICE void PairOf(const NestedSource<Type>& source, std::uint32_t token,
                            const float* turns, std::uint32_t first, std::uint32_t second,
                            typename Type::Word* a, typename Type::Word* b) {
  const LaneStrip& strip = *source.work.strip;
  const bool both = second * Type::kSlot < strip.head_size;
  float x[Type::kSlot] = {};
  float y[Type::kSlot] = {};
  source.Slot(token, first * Type::kSlot, x);
  if (both) source.Slot(token, second * Type::kSlot, y);
  if (strip.pairs != RotaryPairs::kNone) TurnSlots<Type>(strip, turns, first, second, x, y);
  ToWords<Type>(x, a);
  ToWords<Type>(y, b);
}
template <class Type>
KDN_HOST_DEVICE void PairOf(const WordSource<Type>& source, std::uint32_t token, const float* turns,
                            std::uint32_t first, std::uint32_t second, typename Type::Word* a,
                            typename Type::Word* b) {
  const LaneStrip& strip = *source.work.strip;
  const bool both = second * Type::kSlot < strip.head_size;
  source.Slot(token, first * Type::kSlot, a);
  if (both) source.Slot(token, second * Type::kSlot, b);
  if (strip.pairs == RotaryPairs::kNone) return;
  float x[Type::kSlot] = {};
  float y[Type::kSlot] = {};
  for (std::uint32_t i = 0; i < Type::kSlot; ++i) {
    x[i] = Type::Number::ToFloat(a[i]);
    if (both) y[i] = Type::Number::ToFloat(b[i]);
  }
  TurnSlots<Type>(strip, turns, first, second, x, y);
  for (std::uint32_t i = 0; i < Type::kSlot; ++i) {
    a[i] = Type::Number::FromFloat(x[i]);
    b[i] = Type::Number::FromFloat(y[i]);
  }
}

// Rows that are dense and aligned, by stores of 16 bytes.
template <class Type, class Source>
KDN_HOST_DEVICE void WriteSlots(const UnitWork& work, const Source& source,
                                const TokenShare& share) {
  const LaneStrip& strip = *work.strip;
  const bool halves = strip.pairs == RotaryPairs::kHalves;
  const SlotPairs pairs(strip.head_size / Type::kSlot,
                        halves ? strip.rotary_dims / 2U / Type::kSlot : 0);
  const std::uint32_t more_tokens = share.threads / pairs.count;
  const std::uint32_t more_pairs = share.threads % pairs.count;
  std::uint32_t token = share.first + share.thread / pairs.count;
  std::uint32_t pair = share.thread % pairs.count;
  while (token < share.end) {
    const TokenRow at = RowOf(work, token);
    const std::uint32_t first = pairs.First(pair);
    const std::uint32_t second = pairs.Second(pair);
    typename Type::Word a[Type::kSlot] = {};
    typename Type::Word b[Type::kSlot] = {};
    PairOf<Type>(source, token, at.turns, first, second, a, b);
    constexpr std::uint32_t kBytes = Type::kSlot * sizeof(typename Type::Word);
    StoreSlot<Type>(a, at.row + first * kBytes);
    if (second < pairs.slots) StoreSlot<Type>(b, at.row + second * kBytes);
    token += more_tokens;
    pair += more_pairs;
    if (pair >= pairs.count) {
      pair -= pairs.count;
      ++token;
    }
  }
}

template <class Type>
KDN_HOST_DEVICE float FloatAt(const NestedSource<Type>& source, std::uint32_t token,
                              std::uint32_t channel) {
  return source.One(token, channel);
}
template <class Type>
KDN_HOST_DEVICE float FloatAt(const WordSource<Type>& source, std::uint32_t token,
                              std::uint32_t channel) {
  return Type::Number::ToFloat(source.One(token, channel));
}
template <class Type>
KDN_HOST_DEVICE typename Type::Word UnturnedWord(const NestedSource<Type>& source,
                                                 std::uint32_t token, std::uint32_t channel) {
  return Type::Number::FromFloat(source.One(token, channel));
}
template <class Type>
KDN_HOST_DEVICE typename Type::Word UnturnedWord(const WordSource<Type>& source,
                                                 std::uint32_t token, std::uint32_t channel) {
  // Turned tiles go through floats as a whole (TurnValues).
  if (source.work.strip->pairs == RotaryPairs::kNone) return source.One(token, channel);
  return Type::Number::FromFloat(FloatAt(source, token, channel));
}

// Any rows: value by value, the other one of its pair computed once more.
template <class Type, class Source>
KDN_HOST_DEVICE void WriteOneByOne(const UnitWork& work, const Source& source,
                                   const TokenShare& share) {
  const LaneStrip& strip = *work.strip;
  const std::uint32_t channels = strip.head_size;
  const std::uint32_t half = strip.rotary_dims / 2U;
  const std::uint32_t values = (share.end - share.first) * channels;
  for (std::uint32_t i = share.thread; i < values; i += share.threads) {
    const std::uint32_t token = share.first + i / channels;
    const std::uint32_t c = i % channels;
    const TokenRow at = RowOf(work, token);
    typename Type::Word word;
    if (strip.pairs == RotaryPairs::kNone || c >= 2 * half) {
      word = UnturnedWord(source, token, c);
    } else {
      const bool halves = strip.pairs == RotaryPairs::kHalves;
      const std::uint32_t pair = halves ? c % half : c / 2;
      const std::uint32_t first = halves ? pair : 2 * pair;
      float a = FloatAt(source, token, first);
      float b = FloatAt(source, token, halves ? pair + half : first + 1);
      TurnLanePair(a, b, at.turns[pair], at.turns[half + pair]);
      word = Type::Number::FromFloat(c == first ? a : b);
    }
    Store(word, at.row + static_cast<std::int64_t>(c) * strip.dim_stride);
  }
}

template <class Type, class Source>
KDN_HOST_DEVICE void WriteShare(const UnitWork& work, const Source& source,
                                const TokenShare& share) {
  if (work.strip->wide) {
    WriteSlots<Type>(work, source, share);
  } else {
    WriteOneByOne<Type>(work, source, share);
  }
}

// Values of a few tokens, before they are turned, into the warp's slab: sums of rows of the matrix
// and codes, exact in 32 bits.
template <class Type, class Warp>
KDN_HOST_DEVICE void FillSlab(const Warp& warp, const NestedSource<Type>& source, float* slab,
                              std::uint32_t tokens) {
  const UnitWork& work = source.work;
  const LaneStrip& strip = *work.strip;
  const std::uint32_t channels = strip.head_size;
  const std::byte* codes = work.fast + std::size_t{source.first_token} * channels;
  if (strip.order != nullptr) {
    auto* ordered = reinterpret_cast<std::byte*>(slab + kSlabValues);
    warp.Each([&](unsigned lane) {
      for (std::uint32_t i = lane; i < tokens * channels; i += kWarpLanes) {
        const std::uint32_t c = i % channels;
        ordered[i] = codes[i - c + strip.order[c]];
      }
    });
    warp.Sync();
    codes = ordered;
  }
  warp.Each([&](unsigned lane) {
    for (std::uint32_t c = lane; c < channels; c += kWarpLanes) {
      std::int32_t sums[kSlabTokensMax] = {};
      const std::byte* front = codes + (c - c % strip.block);
      for (std::uint32_t k = 0; k < strip.block; k += 4) {
        const std::uint32_t row = strip.matrix[k / 4 * channels + c];
        for (std::uint32_t t = 0; t < kSlabTokensMax; ++t) {
          if (t < tokens) {
            sums[t] = DotBytes(row, Load<std::uint32_t>(front + t * channels + k), sums[t]);
          }
        }
      }
      for (std::uint32_t t = 0; t < kSlabTokensMax; ++t) {
        if (t >= tokens) break;
        const float step = work.scales()[c] * source.Power(source.first_token + t);
        slab[t * channels + c] = work.means()[c] + step * static_cast<float>(sums[t]);
      }
    }
  });
  warp.Sync();
}

// What falls to warp `number` of the team. Requires: the team has met after DecodeUnitBlocks(),
// which was true for all.
template <class Type, class Warp>
KDN_HOST_DEVICE void WriteUnit(const Warp& warp, const UnitWork& work, unsigned number) {
  const LaneStrip& strip = *work.strip;
  const std::uint32_t tokens = work.unit->token_count;
  const unsigned threads = work.warps * kWarpLanes;
  if (strip.scheme == LaneScheme::kSymbols) {
    // Head sizes are multiples of 16 wherever there are lossy levels.
    std::byte* to = work.head + std::size_t{work.unit->first_token} * strip.head_size;
    warp.Each([&](unsigned lane) {
      for (std::uint32_t i = 16 * (number * kWarpLanes + lane); i < work.WindowValues();
           i += 16 * threads) {
        StoreQuad(LoadQuad(work.fast + i), to + i);
      }
    });
    return;
  }
  if (strip.scheme != LaneScheme::kNested) {
    const WordSource<Type> source{work};
    warp.Each([&](unsigned lane) {
      WriteShare<Type>(work, source, {0, tokens, number * kWarpLanes + lane, threads});
    });
    return;
  }
  NestedSource<Type> source{work, nullptr, nullptr, 0};
  if (strip.exponents != kNoOffset) {
    source.exponents = work.At<std::uint8_t>(strip.exponents) + work.unit->first_token;
  }
  if (strip.block == 1) {
    warp.Each([&](unsigned lane) {
      WriteShare<Type>(work, source, {0, tokens, number * kWarpLanes + lane, threads});
    });
    return;
  }
  float* slab = work.SlabOf(number);
  const std::uint32_t each = SlabTokens(strip.head_size);
  for (std::uint32_t first = number * each; first < tokens; first += work.warps * each) {
    const std::uint32_t end = first + each < tokens ? first + each : tokens;
    source.first_token = first;
    source.slab = slab;
    FillSlab(warp, source, slab, end - first);
    warp.Each(
        [&](unsigned lane) { WriteShare<Type>(work, source, {first, end, lane, kWarpLanes}); });
    warp.Sync();
  }
}

}  // namespace
}  // namespace kdn::codec
