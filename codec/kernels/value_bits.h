// How the bits of one value are dealt out to planes, for each type, and the loop over rows that all
// kernel tables share. docs/codec.md draws the planes.
//
// Everything here is in an unnamed namespace on purpose: each file that includes it gets functions
// of its own, so the linker cannot give scalar code the copy that was compiled for AVX-512.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"

namespace kdn::codec {
namespace {

// Split() deals out one value, Merge() puts it together again; both at element i of each plane.
struct Bf16Bits {
  using Word = std::uint16_t;
  static constexpr std::size_t kPlanes = 2;  // exponent | sign and mantissa
  static void Split(Word w, std::uint8_t* const* p, std::size_t i) {
    p[0][i] = static_cast<std::uint8_t>(w >> 7);
    p[1][i] = static_cast<std::uint8_t>((w & 0x7F) | ((w >> 8) & 0x80));
  }
  KDN_HOST_DEVICE static Word Merge(const std::uint8_t* const* p, std::size_t i) {
    return static_cast<Word>((p[0][i] << 7) | (p[1][i] & 0x7F) | ((p[1][i] & 0x80) << 8));
  }
};

struct Fp16Bits {
  using Word = std::uint16_t;
  static constexpr std::size_t kPlanes = 3;  // sign and exponent | 2 bits of mantissa | the other 8
  static void Split(Word w, std::uint8_t* const* p, std::size_t i) {
    p[0][i] = static_cast<std::uint8_t>(w >> 10);
    p[1][i] = static_cast<std::uint8_t>((w >> 8) & 3);
    p[2][i] = static_cast<std::uint8_t>(w);
  }
  KDN_HOST_DEVICE static Word Merge(const std::uint8_t* const* p, std::size_t i) {
    return static_cast<Word>((p[0][i] << 10) | (p[1][i] << 8) | p[2][i]);
  }
};

struct Fp32Bits {
  using Word = std::uint32_t;
  static constexpr std::size_t kPlanes = 4;  // exponent | sign and 7 bits of mantissa | 8 | 8
  static void Split(Word w, std::uint8_t* const* p, std::size_t i) {
    p[0][i] = static_cast<std::uint8_t>(w >> 23);
    p[1][i] = static_cast<std::uint8_t>(((w >> 16) & 0x7F) | ((w >> 24) & 0x80));
    p[2][i] = static_cast<std::uint8_t>(w >> 8);
    p[3][i] = static_cast<std::uint8_t>(w);
  }
  KDN_HOST_DEVICE static Word Merge(const std::uint8_t* const* p, std::size_t i) {
    const Word exponent = p[0][i];
    const Word top = p[1][i];
    return (exponent << 23) | ((top & 0x7F) << 16) | ((top & 0x80) << 24) |
           static_cast<Word>(p[2][i] << 8) | p[3][i];
  }
};

struct Fp8E4M3Bits {
  using Word = std::uint8_t;
  static constexpr std::size_t kPlanes = 2;  // exponent | sign and mantissa
  static void Split(Word w, std::uint8_t* const* p, std::size_t i) {
    p[0][i] = static_cast<std::uint8_t>((w >> 3) & 15);
    p[1][i] = static_cast<std::uint8_t>((w & 7) | ((w >> 4) & 8));
  }
  KDN_HOST_DEVICE static Word Merge(const std::uint8_t* const* p, std::size_t i) {
    return static_cast<Word>((p[0][i] << 3) | (p[1][i] & 7) | ((p[1][i] & 8) << 4));
  }
};

struct Fp8E5M2Bits {
  using Word = std::uint8_t;
  static constexpr std::size_t kPlanes = 2;  // sign and exponent | mantissa
  static void Split(Word w, std::uint8_t* const* p, std::size_t i) {
    p[0][i] = static_cast<std::uint8_t>(w >> 2);
    p[1][i] = static_cast<std::uint8_t>(w & 3);
  }
  KDN_HOST_DEVICE static Word Merge(const std::uint8_t* const* p, std::size_t i) {
    return static_cast<Word>((p[0][i] << 2) | p[1][i]);
  }
};

// One value at a time: the specification, and what is left of a row after full vectors.
template <class Bits>
struct OneByOne : Bits {
  static constexpr std::size_t kStep = 1;
  static void SplitStep(const std::byte* values, std::uint8_t* const* planes, std::size_t i) {
    typename Bits::Word w;
    __builtin_memcpy(&w, values, sizeof(w));
    Bits::Split(w, planes, i);
  }
  static void MergeStep(const std::uint8_t* const* planes, std::size_t i, std::byte* values) {
    const typename Bits::Word w = Bits::Merge(planes, i);
    __builtin_memcpy(values, &w, sizeof(w));
  }
};

// V is Bits with kStep, SplitStep and MergeStep for kStep values at once.
template <class V>
void SplitRows(const std::byte* values, std::ptrdiff_t row_stride, std::size_t rows,
               std::size_t row_values, std::uint8_t* const* planes) {
  constexpr std::size_t kWord = sizeof(typename V::Word);
  std::size_t at = 0;
  for (std::size_t r = 0; r < rows; ++r, values += row_stride) {
    std::size_t i = 0;
    for (; i + V::kStep <= row_values; i += V::kStep) {
      V::SplitStep(values + i * kWord, planes, at + i);
    }
    for (; i < row_values; ++i) OneByOne<V>::SplitStep(values + i * kWord, planes, at + i);
    at += row_values;
  }
}

template <class V>
void MergeRows(const std::uint8_t* const* planes, std::size_t rows, std::size_t row_values,
               std::byte* values, std::ptrdiff_t row_stride) {
  constexpr std::size_t kWord = sizeof(typename V::Word);
  std::size_t at = 0;
  for (std::size_t r = 0; r < rows; ++r, values += row_stride) {
    std::size_t i = 0;
    for (; i + V::kStep <= row_values; i += V::kStep) {
      V::MergeStep(planes, at + i, values + i * kWord);
    }
    for (; i < row_values; ++i) OneByOne<V>::MergeStep(planes, at + i, values + i * kWord);
    at += row_values;
  }
}

[[maybe_unused]] void PackOneByOne(unsigned bits, const std::uint8_t* in, std::size_t count,
                                   std::byte* out) {
  const std::size_t per_byte = 8 / bits;
  for (std::size_t i = 0; i < count; i += per_byte) {
    unsigned packed = 0;
    for (std::size_t k = 0; k < per_byte && i + k < count; ++k) {
      packed |= static_cast<unsigned>(in[i + k]) << (bits * k);
    }
    *out++ = static_cast<std::byte>(packed);
  }
}

[[maybe_unused]] void UnpackOneByOne(unsigned bits, const std::byte* in, std::size_t count,
                                     std::uint8_t* out) {
  const std::size_t per_byte = 8 / bits;
  const unsigned mask = (1U << bits) - 1;
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned shift = bits * static_cast<unsigned>(i % per_byte);
    out[i] = static_cast<std::uint8_t>((static_cast<unsigned>(in[i / per_byte]) >> shift) & mask);
  }
}

}  // namespace
}  // namespace kdn::codec
