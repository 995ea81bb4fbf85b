// The first step of encoding: a strip's rows to symbols and the bits below them, by a team of
// warps. The arithmetic is that of codec/kernels/encode_one_by_one.h, operation by operation.
//
//   MeasureStrip, the team meets, CutStrip, the team meets, CloseStrip
//
// A .cu file may include this header, so it stays within C++17; nvcc must not contract floating
// point (-fmad=false). Thread-safety: pure functions of memory that the caller owns.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/float_bits.h"
#include "codec/lane/encode_plan.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// A strip, and its team's memory.
struct StripWork {
  const std::byte* plan;
  const EncodeStrip* strip;
  const EncodeClass* classes;
  std::byte* workspace;
  EncodeMemory memory;
  std::byte* fast;  // EncodeMemory::TotalBytes(), aligned to 16

  template <class T>
  [[nodiscard]] KDN_HOST_DEVICE const T* At(std::uint32_t offset) const {
    return reinterpret_cast<const T*>(plan + offset);
  }
  [[nodiscard]] KDN_HOST_DEVICE bool own() const { return strip->mean == nullptr; }
  [[nodiscard]] KDN_HOST_DEVICE float* means() const { return reinterpret_cast<float*>(fast); }
  [[nodiscard]] KDN_HOST_DEVICE float* scales() const { return means() + memory.channels; }
  // Without a matrix: one number a channel, from values to components.
  [[nodiscard]] KDN_HOST_DEVICE float* factors() const { return scales() + memory.channels; }
  // Of each 16 components, its class.
  [[nodiscard]] KDN_HOST_DEVICE std::uint8_t* units() const {
    return reinterpret_cast<std::uint8_t*>(factors() + memory.channels);
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t* counts() const {
    return reinterpret_cast<std::uint32_t*>(units() + memory.UnitsBytes());
  }
  // Values of some tokens less their means, then their components.
  [[nodiscard]] KDN_HOST_DEVICE float* SlabOf(unsigned warp) const {
    return reinterpret_cast<float*>(reinterpret_cast<std::byte*>(counts()) +
                                    EncodeMemory::kCountsBytes) +
           std::size_t{warp} * 2 * EncodeMemory::kSlabValues;
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint8_t* symbols() const {
    return reinterpret_cast<std::uint8_t*>(workspace + strip->symbols);
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint8_t* exponents() const {
    return reinterpret_cast<std::uint8_t*>(workspace + strip->exponents);
  }
};

KDN_HOST_DEVICE inline StripWork StripWorkOf(const std::byte* plan, std::uint32_t strip,
                                             const EncodeMemory& memory, std::byte* workspace,
                                             std::byte* fast) {
  const auto* header = reinterpret_cast<const EncodePlanHeader*>(plan);
  StripWork work{plan, nullptr, nullptr, workspace, memory, fast};
  work.strip = work.At<EncodeStrip>(header->strips) + strip;
  work.classes = work.At<EncodeClass>(work.strip->classes);
  return work;
}

// One channel of a row as it is; what no decoder has room for counts as zero.
template <class Number>
KDN_HOST_DEVICE float ChannelOf(const StripWork& work, const std::byte* row, std::uint32_t c) {
  const std::int64_t at = static_cast<std::int64_t>(c) * work.strip->dim_stride;
  const float x = Number::ToFloat(Load<typename Number::Word>(row + at));
  return x >= -kFiniteMax && x <= kFiniteMax ? x : 0.0F;
}

// One value, free of its position.
template <class Number>
KDN_HOST_DEVICE float ValueOf(const StripWork& work, std::uint32_t token, std::uint32_t c) {
  const EncodeStrip& strip = *work.strip;
  const std::byte* row = strip.head + work.At<std::int64_t>(strip.rows)[token];
  const float x = ChannelOf<Number>(work, row, c);
  const std::uint32_t half = strip.rotary_dims / 2U;
  if (strip.pairs == RotaryPairs::kNone || c >= 2 * half) return x;
  const bool halves = strip.pairs == RotaryPairs::kHalves;
  const std::uint32_t pair = halves ? c % half : c / 2;
  const bool is_first = halves ? c < half : c % 2 == 0;
  const std::uint32_t other = halves ? (is_first ? c + half : pair) : c ^ 1U;
  const float y = ChannelOf<Number>(work, row, other);
  const float* turns = work.At<float>(strip.turns) + std::size_t{token} * strip.rotary_dims;
  const float cosine = turns[pair];
  const float sine = turns[half + pair];
  return is_first ? x * cosine + y * sine : x * cosine - y * sine;
}

KDN_HOST_DEVICE inline float Bf16Of(float x) {
  return Bf16Number::ToFloat(Bf16Number::FromFloat(x));
}

// A channel's mean and the scale of its codes, in double as the specification has it.
template <class Number>
KDN_HOST_DEVICE void MeasureChannelOf(const StripWork& work, std::uint32_t c) {
  const std::uint32_t tokens = work.strip->tokens;
  double sum = 0.0;
  for (std::uint32_t t = 0; t < tokens; ++t) sum += double{ValueOf<Number>(work, t, c)};
  const float mean = Bf16Of(static_cast<float>(sum / static_cast<double>(tokens)));
  double squares = 0.0;
  for (std::uint32_t t = 0; t < tokens; ++t) {
    const double off = double{ValueOf<Number>(work, t, c)} - double{mean};
    squares += off * off;
  }
#if defined(__CUDA_ARCH__)
  const auto deviation = static_cast<float>(__dsqrt_rn(squares / static_cast<double>(tokens)));
#else
  const auto deviation = static_cast<float>(std::sqrt(squares / static_cast<double>(tokens)));
#endif
  const float scale = deviation / kBinsPerDeviation / 8.0F;
  work.means()[c] = mean;
  work.scales()[c] = Bf16Of(scale > 1e-30F ? scale : 1e-30F);
  work.factors()[c] = static_cast<float>(1.0 / double{work.scales()[c]});
}

// The share of warp `number`: what the strip's channels are coded by.
template <class Number, class Warp>
KDN_HOST_DEVICE void MeasureStrip(const Warp& warp, const StripWork& work, unsigned number) {
  const EncodeStrip& strip = *work.strip;
  constexpr unsigned kThreads = kEncodeTeamWarps * kWarpLanes;
  warp.Each([&](unsigned lane) {
    const unsigned thread = number * kWarpLanes + lane;
    if (thread < kOwnSymbols) work.counts()[thread] = 0;
    for (std::uint32_t unit = thread; unit < strip.channels / 16U; unit += kThreads) {
      std::uint32_t c = 0;
      while (unit * 16 >= std::uint32_t{work.classes[c].first} + work.classes[c].width) ++c;
      work.units()[unit] = static_cast<std::uint8_t>(c);
    }
    auto* numbers = reinterpret_cast<float*>(work.workspace + strip.numbers);
    for (std::uint32_t c = thread; c < strip.channels; c += kThreads) {
      if (!work.own()) {
        work.means()[c] = strip.mean[c];
        if (strip.block == 1) work.factors()[c] = strip.inverse[c];
        continue;
      }
      MeasureChannelOf<Number>(work, c);
      numbers[c] = work.means()[c];
      numbers[strip.channels + c] = work.scales()[c];
    }
  });
}

// Floor of a number whose integer part an int holds.
KDN_HOST_DEVICE inline int FloorOfFloat(float x) {
  const int whole = static_cast<int>(x);
  return static_cast<float>(whole) > x ? whole - 1 : whole;
}

// The draft bin of a value less its mean, which the own table is made of.
KDN_HOST_DEVICE inline unsigned OwnBinOf(float centred, float scale) {
  const float at = centred / scale / 8.0F + 0.5F;
  if (!(at >= -static_cast<float>(kOwnBinMax))) return 0;
  const int bin = at < static_cast<float>(kOwnBinMax) ? FloorOfFloat(at) : kOwnBinMax;
  return static_cast<unsigned>(bin + kOwnBinMax);
}

// A lane's own counts, 8 bits each.
template <class Warp>
class BinCounts {
 public:
  KDN_HOST_DEVICE void Add(const StripWork& work, unsigned lane, unsigned bin) {
    const std::uint64_t one = std::uint64_t{1} << (8 * (bin % 8));
    low_[lane] += bin < 8 ? one : 0;
    high_[lane] += bin < 8 ? 0 : one;
    if (++held_[lane] == 255) Give(work, lane);
  }
  KDN_HOST_DEVICE void Give(const StripWork& work, unsigned lane) {
    for (unsigned bin = 0; bin < kOwnSymbols; ++bin) {
      const std::uint64_t counts = bin < 8 ? low_[lane] : high_[lane];
      const auto count = static_cast<std::uint32_t>((counts >> (8 * (bin % 8))) & 0xFF);
      if (count != 0) AddTo(work.counts() + bin, count);
    }
    low_[lane] = high_[lane] = 0;
    held_[lane] = 0;
  }

 private:
  typename Warp::template Lanes<std::uint64_t> low_;
  typename Warp::template Lanes<std::uint64_t> high_;
  typename Warp::template Lanes<std::uint32_t> held_;
};

// Sums of one component over its block's channels, of a few tokens, in the order of the channels.
KDN_HOST_DEVICE inline void ComponentOf(const StripWork& work, const float* centred,
                                        std::uint32_t tokens, std::uint32_t k, float* out) {
  const EncodeStrip& strip = *work.strip;
  const std::uint32_t channels = strip.channels;
  const std::uint32_t number = strip.order == nullptr ? k : strip.order[k];
  if (strip.block == 1) {
    for (std::uint32_t t = 0; t < tokens; ++t) {
      out[t * channels + number] = work.factors()[k] * centred[t * channels + k];
    }
    return;
  }
  float sums[EncodeMemory::kTokensMax] = {};
  const std::uint32_t front = k - k % strip.block;
  const float* column = strip.inverse + std::size_t{front} * strip.block + k % strip.block;
  for (std::uint32_t i = 0; i < strip.block; ++i, column += strip.block) {
    const float factor = *column;
    for (std::uint32_t t = 0; t < EncodeMemory::kTokensMax; ++t) {
      if (t < tokens) sums[t] += factor * centred[t * channels + front + i];
    }
  }
  for (std::uint32_t t = 0; t < EncodeMemory::kTokensMax; ++t) {
    if (t < tokens) out[t * channels + number] = sums[t];
  }
}

// The fine bin of a component, 2 code units wide, those of the middle symbol being 0 and up.
KDN_HOST_DEVICE inline int FineBinOf(const EncodeClass& one, float component) {
  const int parts = 1 << one.planes;
  const int low = (one.first_symbol - kMiddleSymbol) * parts;
  const int high = (one.last_symbol - kMiddleSymbol) * parts + parts - 1;
  const float at = component * 0.5F + 0.5F * static_cast<float>(parts);
  if (!(at >= static_cast<float>(low))) return low;
  return at < static_cast<float>(high) ? FloorOfFloat(at) : high;
}

// One token's components to symbols and bits, coarser as a whole where one is far outside.
template <class Warp>
KDN_HOST_DEVICE void CutToken(const Warp& warp, const StripWork& work, const float* components,
                              std::uint32_t token) {
  const EncodeStrip& strip = *work.strip;
  typename Warp::template Lanes<std::uint32_t> largest;  // bits: shares are not negative
  warp.Each([&](unsigned lane) {
    float mine = 0.0F;
    for (std::uint32_t p = lane; p < strip.channels; p += kWarpLanes) {
      const EncodeClass& one = work.classes[work.units()[p / 16]];
      if (one.start == kNestedLevels) continue;
      const float share = fabsf(components[p]) / one.clip;
      if (share > mine) mine = share;
    }
    largest[lane] = BitsOf(mine);
  });
  float most = FloatOf(warp.Most(largest));
  unsigned exponent = 0;
  for (; most > 1.0F && exponent < kExponentMax; ++exponent) most *= 0.5F;
  const float shrink = 1.0F / static_cast<float>(1U << exponent);
  const std::size_t values = std::size_t{strip.tokens} * strip.channels;
  warp.Each([&](unsigned lane) {
    if (lane == 0) work.exponents()[token] = static_cast<std::uint8_t>(exponent);
    for (std::uint32_t p = lane; p < strip.channels; p += kWarpLanes) {
      const EncodeClass& one = work.classes[work.units()[p / 16]];
      if (one.start == kNestedLevels) continue;
      const int bin = FineBinOf(one, components[p] * shrink);
      std::uint8_t* symbol = work.symbols() + std::size_t{strip.tokens} * one.first +
                             std::size_t{token} * one.width + (p - one.first);
      symbol[0] = static_cast<std::uint8_t>((bin >> one.planes) + kMiddleSymbol);
      symbol[values] = static_cast<std::uint8_t>(bin & ((1 << one.planes) - 1));
    }
  });
}

// The share of warp `number` of the strip's tokens. Requires: the team has met after
// MeasureStrip().
template <class Number, class Warp>
KDN_HOST_DEVICE void CutStrip(const Warp& warp, const StripWork& work, unsigned number) {
  const EncodeStrip& strip = *work.strip;
  const std::uint32_t channels = strip.channels;
  const std::uint32_t fit = EncodeMemory::kSlabValues / channels;
  const std::uint32_t each = fit < EncodeMemory::kTokensMax ? fit : EncodeMemory::kTokensMax;
  float* centred = work.SlabOf(number);
  float* components = centred + EncodeMemory::kSlabValues;
  BinCounts<Warp> counts;
  for (std::uint32_t first = number * each; first < strip.tokens;
       first += kEncodeTeamWarps * each) {
    const std::uint32_t tokens = strip.tokens - first < each ? strip.tokens - first : each;
    warp.Each([&](unsigned lane) {
      for (std::uint32_t t = 0; t < tokens; ++t) {
        for (std::uint32_t c = lane; c < channels; c += kWarpLanes) {
          const float x = ValueOf<Number>(work, first + t, c) - work.means()[c];
          centred[t * channels + c] = x;
          if (work.own()) counts.Add(work, lane, OwnBinOf(x, work.scales()[c]));
        }
      }
    });
    warp.Sync();
    warp.Each([&](unsigned lane) {
      for (std::uint32_t k = lane; k < channels; k += kWarpLanes) {
        ComponentOf(work, centred, tokens, k, components);
      }
    });
    warp.Sync();
    for (std::uint32_t t = 0; t < tokens; ++t) {
      CutToken(warp, work, components + t * channels, first + t);
    }
    warp.Sync();
  }
  warp.Each([&](unsigned lane) { counts.Give(work, lane); });
}

// What later steps need to know of the strip. Requires: the team has met after CutStrip().
template <class Warp>
KDN_HOST_DEVICE void CloseStrip(const Warp& warp, const StripWork& work, unsigned number) {
  if (number != 0) return;
  const EncodeStrip& strip = *work.strip;
  typename Warp::template Lanes<std::uint32_t> some;
  warp.Each([&](unsigned lane) {
    some[lane] = 0;
    for (std::uint32_t t = lane; t < strip.tokens; t += kWarpLanes) {
      some[lane] += work.exponents()[t] != 0 ? 1U : 0U;
    }
    if (work.own() && lane < kOwnSymbols) {
      reinterpret_cast<std::uint32_t*>(work.workspace + strip.counts)[lane] = work.counts()[lane];
    }
  });
  const std::uint32_t all = warp.SumBefore(some);
  warp.Each([&](unsigned lane) {
    if (lane == 0) reinterpret_cast<StripResult*>(work.workspace + strip.result)->exponents = all;
  });
}

}  // namespace
}  // namespace kdn::codec
