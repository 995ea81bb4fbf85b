// A unit's second half: from codes or symbols to values in the engine's rows, eight or sixteen
// neighbouring channels a lane at a time. The arithmetic is that of codec/kernels/synthesis.h.
//
// A .cu file may include this header, so it stays within C++17; nvcc must not contract floating
// point (-fmad=false). Thread-safety: pure functions of memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/float_bits.h"
#include "codec/kernels/value_bits.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/unit_lanes.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// One type of value. A slot is a lane's channels: whole 16-byte pieces of a row.
template <class NumberOfType, class BitsOfType, std::size_t kPlanesOfType>
struct LaneType {
  using Number = NumberOfType;
  using Word = typename Number::Word;
  using Bits = BitsOfType;
  static constexpr std::size_t kPlanes = kPlanesOfType;
  static constexpr std::uint32_t kSlot = sizeof(Word) == 1 ? 16 : 8;
};
using Bf16Lanes = LaneType<Bf16Number, Bf16Bits, 2>;
using Fp16Lanes = LaneType<Fp16Number, Fp16Bits, 3>;
using Fp32Lanes = LaneType<Fp32Number, Fp32Bits, 4>;
using Fp8E4M3Lanes = LaneType<Fp8E4M3Number, Fp8E4M3Bits, 2>;
using Fp8E5M2Lanes = LaneType<Fp8E5M2Number, Fp8E5M2Bits, 2>;

KDN_HOST_DEVICE inline void TurnLanePair(float& a, float& b, float cosine, float sine) {
  const float x = a;
  const float y = b;
  a = x * cosine - y * sine;
  b = y * cosine + x * sine;
}

// A signed byte as a float, by way of a number whose last place is 1: exact.
KDN_HOST_DEVICE inline float FloatOfCode(std::uint32_t code) {
  return FloatOf(0x4B000000U | ((code ^ 0x80U) & 0xFFU)) - 8388736.0F;
}

// Four products of signed bytes, added to `sum`.
KDN_HOST_DEVICE inline std::int32_t DotBytes(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
#else
  for (unsigned shift = 0; shift < 32; shift += 8) {
    sum += std::int32_t{static_cast<std::int8_t>(a >> shift)} *
           std::int32_t{static_cast<std::int8_t>(b >> shift)};
  }
  return sum;
#endif
}

// Which slots a lane takes together, so that the two of a pair of channels are in one lane's hands.
struct SlotPairs {
  std::uint32_t slots;  // of a row
  std::uint32_t apart;  // pairs of slots that lie that far apart come first,
  std::uint32_t count;  // then neighbours

  KDN_HOST_DEVICE SlotPairs(std::uint32_t slots_of_row, std::uint32_t turned_apart)
      : slots(slots_of_row),
        apart(turned_apart != 0 ? turned_apart : (slots_of_row + 1) / 2),
        count(turned_apart != 0 ? apart + (slots - 2 * apart + 1) / 2 : apart) {}
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t First(std::uint32_t pair) const {
    return pair < apart ? pair : 2 * pair;
  }
  // May be no slot of the row.
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t Second(std::uint32_t pair) const {
    return pair < apart ? pair + apart : 2 * pair + 1;
  }
};

// Values of a nested strip, before they are turned.
template <class Type>
struct NestedSource {
  const UnitWork& work;
  const std::uint8_t* exponents;  // of the window's tokens; null: all 0
  const float* slab;              // of the tokens from first_token on; null: there is no matrix
  std::uint32_t first_token;

  [[nodiscard]] KDN_HOST_DEVICE float Power(std::uint32_t token) const {
    return exponents == nullptr ? 1.0F
                                : static_cast<float>(std::uint32_t{1} << (exponents[token] & 31U));
  }
  [[nodiscard]] KDN_HOST_DEVICE float One(std::uint32_t token, std::uint32_t channel) const {
    const std::uint32_t channels = work.strip->head_size;
    if (slab != nullptr) return slab[(token - first_token) * channels + channel];
    const std::uint16_t* order = work.strip->order;
    const std::uint32_t code =
        work.codes()[token * channels + (order == nullptr ? channel : order[channel])];
    return work.means()[channel] + (work.scales()[channel] * Power(token)) * FloatOfCode(code);
  }
  KDN_HOST_DEVICE void Slot(std::uint32_t token, std::uint32_t channel, float* x) const {
    const std::uint32_t channels = work.strip->head_size;
    if (slab != nullptr || work.strip->order != nullptr) {
      for (std::uint32_t i = 0; i < Type::kSlot; ++i) x[i] = One(token, channel + i);
      return;
    }
    const float power = Power(token);
    for (std::uint32_t i = 0; i < Type::kSlot; i += 4) {
      const auto codes = Load<std::uint32_t>(work.fast + token * channels + channel + i);
      const Quad mean = LoadQuad(reinterpret_cast<const std::byte*>(work.means() + channel + i));
      const Quad scale = LoadQuad(reinterpret_cast<const std::byte*>(work.scales() + channel + i));
      for (std::uint32_t k = 0; k < 4; ++k) {
        x[i + k] = FloatOf(mean.word[k]) +
                   (FloatOf(scale.word[k]) * power) * FloatOfCode(codes >> (8 * k));
      }
    }
  }
};

// Words of byte planes or as they are.
template <class Type>
struct WordSource {
  using Word = typename Type::Word;
  const UnitWork& work;

  [[nodiscard]] KDN_HOST_DEVICE std::uint8_t Symbol(std::size_t plane, std::uint32_t value) const {
    const LaneRun& run = work.runs[plane];
    if (run.mode == LaneRunMode::kConstant) return run.value;
    if (run.mode == LaneRunMode::kRans) {
      return work.codes()[run.first * work.WindowValues() + value];
    }
    // Of the run; `value` is of the window.
    const std::uint32_t i = work.unit->first_token * work.strip->head_size + value;
    const std::uint32_t per_byte = 8U / run.raw_bits;
    const auto byte = static_cast<std::uint32_t>(run.plane[0][i / per_byte]);
    return static_cast<std::uint8_t>((byte >> (run.raw_bits * (i % per_byte))) &
                                     ((1U << run.raw_bits) - 1));
  }
  // Eight symbols at once, the first one's number a multiple of 8.
  KDN_HOST_DEVICE void Symbols(std::size_t plane, std::uint32_t value, std::uint8_t* out) const {
    const LaneRun& run = work.runs[plane];
    const std::byte* from = nullptr;
    if (run.mode == LaneRunMode::kRans) {
      from = work.fast + run.first * work.WindowValues() + value;
    } else if (run.mode == LaneRunMode::kRaw && run.raw_bits == 8) {
      from = run.plane[0] + work.unit->first_token * work.strip->head_size + value;
    }
    if (from == nullptr) {
      for (std::uint32_t i = 0; i < 8; ++i) out[i] = Symbol(plane, value + i);
      return;
    }
    const auto low = Load<std::uint32_t>(from);
    const auto high = Load<std::uint32_t>(from + 4);
    for (unsigned i = 0; i < 4; ++i) {
      out[i] = static_cast<std::uint8_t>(low >> (8 * i));
      out[4 + i] = static_cast<std::uint8_t>(high >> (8 * i));
    }
  }
  [[nodiscard]] KDN_HOST_DEVICE Word One(std::uint32_t token, std::uint32_t channel) const {
    const std::uint32_t value = token * work.strip->head_size + channel;
    if (work.strip->scheme == LaneScheme::kRaw) {
      const std::size_t i = work.unit->first_token * std::size_t{work.strip->head_size} + value;
      return Load<Word>(work.strip->raw + i * sizeof(Word));
    }
    std::uint8_t symbol[Type::kPlanes];
    const std::uint8_t* planes[Type::kPlanes];
    for (std::size_t p = 0; p < Type::kPlanes; ++p) {
      symbol[p] = Symbol(p, value);
      planes[p] = &symbol[p];
    }
    return Type::Bits::Merge(planes, 0);
  }
  KDN_HOST_DEVICE void Slot(std::uint32_t token, std::uint32_t channel, Word* words) const {
    const std::uint32_t value = token * work.strip->head_size + channel;
    if (work.strip->scheme == LaneScheme::kRaw) {
      const std::size_t at = work.unit->first_token * std::size_t{work.strip->head_size} + value;
      constexpr std::uint32_t kPerWord = 4 / sizeof(Word);
      for (std::uint32_t i = 0; i < Type::kSlot; i += kPerWord) {
        const auto four = Load<std::uint32_t>(work.strip->raw + (at + i) * sizeof(Word));
        for (std::uint32_t k = 0; k < kPerWord; ++k) {
          words[i + k] = static_cast<Word>(four >> (8 * sizeof(Word) * k));
        }
      }
      return;
    }
    for (std::uint32_t i = 0; i < Type::kSlot; i += 8) {
      std::uint8_t symbols[Type::kPlanes][8];
      const std::uint8_t* planes[Type::kPlanes];
      for (std::size_t p = 0; p < Type::kPlanes; ++p) {
        Symbols(p, value + i, symbols[p]);
        planes[p] = symbols[p];
      }
      for (std::uint32_t k = 0; k < 8; ++k) words[i + k] = Type::Bits::Merge(planes, k);
    }
  }
};

// Turns what a pair of slots has of the row's first rotary_dims channels.
template <class Type>
KDN_HOST_DEVICE void TurnSlots(const LaneStrip& strip, const float* turns, std::uint32_t first,
                               std::uint32_t second, float* a, float* b) {
  const std::uint32_t half = strip.rotary_dims / 2U;
  if (strip.pairs == RotaryPairs::kHalves) {
    // The planner made slots of a half and its brother lie in one pair.
    const std::uint32_t channel = first * Type::kSlot;
    if (channel >= half) return;
    for (std::uint32_t i = 0; i < Type::kSlot; ++i) {
      TurnLanePair(a[i], b[i], turns[channel + i], turns[half + channel + i]);
    }
    return;
  }
  for (unsigned which = 0; which < 2; ++which) {
    const std::uint32_t channel = (which == 0 ? first : second) * Type::kSlot;
    float* x = which == 0 ? a : b;
    for (std::uint32_t i = 0; i < Type::kSlot; i += 2) {
      if (channel + i >= strip.rotary_dims) break;
      const std::uint32_t pair = (channel + i) / 2;
      TurnLanePair(x[i], x[i + 1], turns[pair], turns[half + pair]);
    }
  }
}

template <class Type>
KDN_HOST_DEVICE void ToWords(const float* x, typename Type::Word* words) {
  for (std::uint32_t i = 0; i < Type::kSlot; ++i) words[i] = Type::Number::FromFloat(x[i]);
}
#if defined(__CUDA_ARCH__)
// The instruction rounds finite numbers as FromFloat() does.
template <>
__device__ inline void ToWords<Bf16Lanes>(const float* x, std::uint16_t* words) {
  for (std::uint32_t i = 0; i < Bf16Lanes::kSlot; i += 2) {
    std::uint32_t two = 0;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(x[i + 1]), "f"(x[i]));
    words[i] = static_cast<std::uint16_t>(two);
    words[i + 1] = static_cast<std::uint16_t>(two >> 16);
  }
}
#endif

template <class Type>
KDN_HOST_DEVICE void StoreSlot(const typename Type::Word* words, std::byte* to) {
  constexpr std::uint32_t kPerWord = 4 / sizeof(typename Type::Word);
  for (std::uint32_t i = 0; i < Type::kSlot; i += 4 * kPerWord) {
    Quad quad{};
    for (std::uint32_t k = 0; k < 4 * kPerWord; ++k) {
      quad.word[k / kPerWord] |= std::uint32_t{words[i + k]}
                                 << (8 * sizeof(typename Type::Word) * (k % kPerWord));
    }
    StoreQuad(quad, to + i * sizeof(typename Type::Word));
  }
}

}  // namespace
}  // namespace kdn::codec
