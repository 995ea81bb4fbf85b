// Between floats and the bits of each type of value. To a type: to the nearest, ties to even; what
// is too large becomes the type's largest number for fp8 and infinity for fp16. Arithmetic on
// integers, so that every machine agrees. Requires: finite floats.
//
// In an unnamed namespace for the reason that value_bits.h gives. A .cu file may include this
// header, so it stays within C++17. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/host_device.h"

namespace kdn::codec {
namespace {

KDN_HOST_DEVICE inline float FloatOf(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
KDN_HOST_DEVICE inline std::uint32_t BitsOf(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// A floating-point type with kExponentBits and kMantissaBits, bias as IEEE has it.
template <unsigned kExponentBits, unsigned kMantissaBits>
struct SmallFloat {
  static constexpr std::uint32_t kBias = (1U << (kExponentBits - 1)) - 1;
  static constexpr unsigned kDrop = 23 - kMantissaBits;

  KDN_HOST_DEVICE static float ToFloat(std::uint32_t bits) {
    const std::uint32_t sign = (bits >> (kExponentBits + kMantissaBits)) << 31;
    const std::uint32_t magnitude = bits & ((1U << (kExponentBits + kMantissaBits)) - 1);
    // The exponent field moves up to a float's, and the product puts the bias right; it is exact,
    // for denormals too.
    const float scaled = FloatOf(magnitude << kDrop);
    const float value = scaled * FloatOf((254U - kBias) << 23);
    return FloatOf(BitsOf(value) | sign);
  }

  // Magnitude bits; may exceed the largest finite number.
  KDN_HOST_DEVICE static std::uint32_t Round(float value) {
    const std::uint32_t bits = BitsOf(value) & 0x7FFFFFFFU;
    if (bits < ((127U - kBias + 1) << 23)) {
      // Below the smallest normal number: the sum drops the bits below the last place of a
      // denormal, and rounds as addition does.
      constexpr std::uint32_t kMagic = (127U - kBias + 1 + kDrop) << 23;
      const float sum = FloatOf(bits) + FloatOf(kMagic);
      return BitsOf(sum) - kMagic;
    }
    const std::uint32_t odd = (bits >> kDrop) & 1;
    const std::uint32_t rounded = bits + (((1U << (kDrop - 1)) - 1) + odd);
    return (rounded >> kDrop) - ((127U - kBias) << kMantissaBits);
  }
  KDN_HOST_DEVICE static std::uint32_t SignOf(float value) {
    return (BitsOf(value) >> 31) << (kExponentBits + kMantissaBits);
  }
};

struct Bf16Number {
  using Word = std::uint16_t;
  KDN_HOST_DEVICE static float ToFloat(Word w) { return FloatOf(std::uint32_t{w} << 16); }
  KDN_HOST_DEVICE static Word FromFloat(float value) {
    const std::uint32_t bits = BitsOf(value);
    return static_cast<Word>((bits + 0x7FFFU + ((bits >> 16) & 1)) >> 16);
  }
};

struct Fp16Number {
  using Word = std::uint16_t;
  using Bits = SmallFloat<5, 10>;
  KDN_HOST_DEVICE static float ToFloat(Word w) { return Bits::ToFloat(w); }
  KDN_HOST_DEVICE static Word FromFloat(float value) {
    const std::uint32_t magnitude = Bits::Round(value);
    return static_cast<Word>((magnitude < 0x7C00U ? magnitude : 0x7C00U) | Bits::SignOf(value));
  }
};

struct Fp32Number {
  using Word = std::uint32_t;
  KDN_HOST_DEVICE static float ToFloat(Word w) { return FloatOf(w); }
  KDN_HOST_DEVICE static Word FromFloat(float value) { return BitsOf(value); }
};

// No infinities: 0x7E is 448, the largest, and 0x7F is not a number.
struct Fp8E4M3Number {
  using Word = std::uint8_t;
  using Bits = SmallFloat<4, 3>;
  KDN_HOST_DEVICE static float ToFloat(Word w) { return Bits::ToFloat(w); }
  KDN_HOST_DEVICE static Word FromFloat(float value) {
    const std::uint32_t magnitude = Bits::Round(value);
    return static_cast<Word>((magnitude < 0x7EU ? magnitude : 0x7EU) | Bits::SignOf(value));
  }
};

struct Fp8E5M2Number {
  using Word = std::uint8_t;
  using Bits = SmallFloat<5, 2>;
  KDN_HOST_DEVICE static float ToFloat(Word w) { return Bits::ToFloat(w); }
  KDN_HOST_DEVICE static Word FromFloat(float value) {
    const std::uint32_t magnitude = Bits::Round(value);
    return static_cast<Word>((magnitude < 0x7BU ? magnitude : 0x7BU) | Bits::SignOf(value));
  }
};

}  // namespace
}  // namespace kdn::codec
