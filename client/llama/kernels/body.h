// One body for every instruction set: each of generic.cc, avx2.cc and avx512.cc is compiled for its
// own and includes this once. All of it is in an anonymous namespace and calls nothing from the
// standard library, so that no function compiled for a newer CPU can be linked into older code.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/llama/kernels/kernels.h"

namespace kdn::llama {
namespace {

// Floats at a time.
#if defined(__AVX512F__)
constexpr std::size_t kLanes = 16;
#elif defined(__AVX2__)
constexpr std::size_t kLanes = 8;
#else
constexpr std::size_t kLanes = 4;
#endif
using Floats = float __attribute__((vector_size(kLanes * 4)));
using Ints = std::int32_t __attribute__((vector_size(kLanes * 4)));
using Words = std::uint32_t __attribute__((vector_size(kLanes * 4)));
using Halves = std::uint16_t __attribute__((vector_size(kLanes * 2)));

[[gnu::always_inline]] inline Floats Load(const float* from) {
  Floats value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}
[[gnu::always_inline]] inline void Store(float* to, Floats value) {
  __builtin_memcpy(to, &value, sizeof(value));
}
[[gnu::always_inline]] inline Floats Splat(float value) {
  return value - Floats{};
}

// The last lanes of a row: `count` values, then `filler`.
[[gnu::always_inline]] inline Floats LoadPart(const float* from, std::size_t count, float filler) {
  float lanes[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : filler;
  return Load(lanes);
}
[[gnu::always_inline]] inline void StorePart(float* to, Floats value, std::size_t count) {
  float lanes[kLanes];
  Store(lanes, value);
  for (std::size_t i = 0; i < count; ++i) to[i] = lanes[i];
}

[[gnu::always_inline]] inline float Sum(Floats value) {
  float lanes[kLanes];
  Store(lanes, value);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
[[gnu::always_inline]] inline Floats Larger(Floats a, Floats b) {
  return a > b ? a : b;
}
[[gnu::always_inline]] inline float Largest(Floats value) {
  float lanes[kLanes];
  Store(lanes, value);
  float largest = lanes[0];
  for (std::size_t i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

// exp(x) to 2 ulp for −86 <= x <= 88, clamped beyond: x = n·ln 2 + r, a polynomial for exp(r)
// (Cephes' expf), and n added to the exponent. Adding 1.5·2²³ rounds to whole numbers and leaves n
// in the low bits. NaN stays NaN.
[[gnu::always_inline]] inline Floats Exp(Floats x) {
  x = x < -86.0F ? Splat(-86.0F) : x;
  x = x > 88.0F ? Splat(88.0F) : x;
  const Floats shifted = x * 1.44269504088896341F + 12582912.0F;
  const Floats n = shifted - 12582912.0F;
  const Floats r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Floats p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const Floats exp_r = p * (r * r) + (r + 1.0F);
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(exp_r) +
                                  (reinterpret_cast<Ints>(shifted) << 23));
}

void RmsNorm(const float* x, const float* weight, float epsilon, std::size_t count, float* out) {
  Floats squares{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = Load(x + i);
    squares += value * value;
  }
  const std::size_t rest = count - i;
  const Floats last = LoadPart(x + i, rest, 0.0F);
  squares += last * last;
  const float mean = Sum(squares) / static_cast<float>(count);
  const float factor = 1.0F / __builtin_sqrtf(mean + epsilon);
  for (i = 0; i + kLanes <= count; i += kLanes) {
    Store(out + i, Load(x + i) * factor * Load(weight + i));
  }
  for (; i < count; ++i) out[i] = x[i] * factor * weight[i];
}

[[gnu::always_inline]] inline Floats Silu(Floats x) {
  return x / (1.0F + Exp(-x));
}

void SwiGlu(const float* gate, const float* up, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(out + i, Silu(Load(gate + i)) * Load(up + i));
  const std::size_t rest = count - i;
  const Floats last = Silu(LoadPart(gate + i, rest, 0.0F)) * LoadPart(up + i, rest, 0.0F);
  StorePart(out + i, last, rest);
}

float SoftmaxBlock(float* scores, std::size_t visible, std::size_t count, SoftmaxState& state) {
  Floats largest = Splat(state.max);
  Floats other = largest;
  std::size_t i = 0;
  for (; i + 2 * kLanes <= visible; i += 2 * kLanes) {
    largest = Larger(Load(scores + i), largest);
    other = Larger(Load(scores + i + kLanes), other);
  }
  for (; i + kLanes <= visible; i += kLanes) largest = Larger(Load(scores + i), largest);
  const std::size_t rest = visible - i;
  largest = Larger(LoadPart(scores + i, rest, state.max), Larger(largest, other));
  const float max = Largest(largest);

  Floats sum{};
  Floats other_sum{};
  for (i = 0; i + 2 * kLanes <= visible; i += 2 * kLanes) {
    const Floats a = Exp(Load(scores + i) - max);
    const Floats b = Exp(Load(scores + i + kLanes) - max);
    Store(scores + i, a);
    Store(scores + i + kLanes, b);
    sum += a;
    other_sum += b;
  }
  for (; i + kLanes <= visible; i += kLanes) {
    const Floats a = Exp(Load(scores + i) - max);
    Store(scores + i, a);
    sum += a;
  }
  if (rest > 0) {
    StorePart(scores + i, Exp(LoadPart(scores + i, rest, max) - max), rest);
    other_sum += LoadPart(scores + i, rest, 0.0F);
  }
  for (i = visible; i < count; ++i) scores[i] = 0.0F;

  const float factor = state.sum == 0.0F ? 0.0F : Exp(Splat(state.max - max))[0];
  state.sum = state.sum * factor + Sum(sum + other_sum);
  state.max = max;
  return factor;
}

void Scale(float* x, float factor, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(x + i, Load(x + i) * factor);
  for (; i < count; ++i) x[i] *= factor;
}

void Add(float* x, const float* y, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(x + i, Load(x + i) + Load(y + i));
  for (; i < count; ++i) x[i] += y[i];
}

void Rotate(const float* in, const float* cos_sin, std::size_t half, float factor, float* out) {
  const float* sines = cos_sin + half;
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Floats a = Load(in + i) * factor;
    const Floats b = Load(in + half + i) * factor;
    const Floats cosine = Load(cos_sin + i);
    const Floats sine = Load(sines + i);
    Store(out + i, a * cosine - b * sine);
    Store(out + half + i, b * cosine + a * sine);
  }
  for (; i < half; ++i) {
    const float a = in[i] * factor;
    const float b = in[half + i] * factor;
    out[i] = a * cos_sin[i] - b * sines[i];
    out[half + i] = b * cos_sin[i] + a * sines[i];
  }
}

[[gnu::always_inline]] inline std::uint32_t RoundedBits(std::uint32_t bits) {
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return nan ? bits | 0x00400000U : bits + 0x7FFFU + ((bits >> 16) & 1U);
}

void NarrowBf16(const float* in, std::size_t count, std::uint16_t* out) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Words bits = reinterpret_cast<Words>(Load(in + i));
    const Words rounded = bits + 0x7FFFU + ((bits >> 16) & 1U);
    const Words kept = (bits & 0x7FFFFFFFU) > 0x7F800000U ? (bits | 0x00400000U) : rounded;
    const Halves halves = __builtin_convertvector(kept >> 16, Halves);
    __builtin_memcpy(out + i, &halves, sizeof(halves));
  }
  for (; i < count; ++i) {
    out[i] =
        static_cast<std::uint16_t>(RoundedBits(__builtin_bit_cast(std::uint32_t, in[i])) >> 16);
  }
}

void WidenBf16(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Halves halves;
    __builtin_memcpy(&halves, in + i, sizeof(halves));
    Store(out + i, reinterpret_cast<Floats>(__builtin_convertvector(halves, Words) << 16));
  }
  for (; i < count; ++i) {
    out[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(in[i]) << 16);
  }
}

constexpr Kernels TableNamed(std::string_view name) {
  return {.name = name,
          .rms_norm = RmsNorm,
          .swiglu = SwiGlu,
          .softmax_block = SoftmaxBlock,
          .scale = Scale,
          .add = Add,
          .rotate = Rotate,
          .narrow_bf16 = NarrowBf16,
          .widen_bf16 = WidenBf16};
}

}  // namespace
}  // namespace kdn::llama
