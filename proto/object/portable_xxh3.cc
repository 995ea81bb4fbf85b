#include "proto/object/portable_xxh3.h"

#include <array>
#include <bit>
#include <cstring>

namespace kdn {
namespace {

constexpr std::uint64_t kPrime32_1 = 0x9E3779B1;
constexpr std::uint64_t kPrime32_2 = 0x85EBCA77;
constexpr std::uint64_t kPrime32_3 = 0xC2B2AE3D;
constexpr std::uint64_t kPrime64_1 = 0x9E3779B185EBCA87;
constexpr std::uint64_t kPrime64_2 = 0xC2B2AE3D27D4EB4F;
constexpr std::uint64_t kPrime64_3 = 0x165667B19E3779F9;
constexpr std::uint64_t kPrime64_4 = 0x85EBCA77C2B2AE63;
constexpr std::uint64_t kPrime64_5 = 0x27D4EB2F165667C5;
constexpr std::uint64_t kMix1 = 0x165667919E3779F9;
constexpr std::uint64_t kMix2 = 0x9FB21C651E98DF25;

// The algorithm's own constant.
constexpr std::size_t kSecretBytes = 192;
constexpr unsigned char kSecret[kSecretBytes] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

using Byte = unsigned char;

std::uint64_t Read64(const Byte* from) {
  std::uint64_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
std::uint64_t Read32(const Byte* from) {
  std::uint32_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
// Of two secret words.
std::uint64_t Flip64(std::size_t at) {
  return Read64(kSecret + at) ^ Read64(kSecret + at + 8);
}

struct Pair {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

// 64 x 64 bits in four products of 32.
Pair Multiply(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = a & 0xFFFFFFFF;
  const std::uint64_t b0 = b & 0xFFFFFFFF;
  const std::uint64_t a1 = a >> 32;
  const std::uint64_t b1 = b >> 32;
  const std::uint64_t low = a0 * b0;
  const std::uint64_t middle = a1 * b0 + (low >> 32);
  const std::uint64_t cross = a0 * b1 + (middle & 0xFFFFFFFF);
  return {(cross << 32) | (low & 0xFFFFFFFF), a1 * b1 + (middle >> 32) + (cross >> 32)};
}
std::uint64_t Fold(std::uint64_t a, std::uint64_t b) {
  const Pair product = Multiply(a, b);
  return product.low ^ product.high;
}

std::uint64_t Avalanche(std::uint64_t h) {
  h ^= h >> 37;
  h *= kMix1;
  return h ^ (h >> 32);
}
std::uint64_t Avalanche64(std::uint64_t h) {
  h ^= h >> 33;
  h *= kPrime64_2;
  h ^= h >> 29;
  h *= kPrime64_3;
  return h ^ (h >> 32);
}

Pair HashUpTo3(const Byte* in, std::size_t size) {
  if (size == 0) return {Avalanche64(Flip64(64)), Avalanche64(Flip64(80))};
  const auto low =
      static_cast<std::uint32_t>((std::uint32_t{in[0]} << 16) |
                                 (std::uint32_t{in[size / 2]} << 24) | in[size - 1] | (size << 8));
  const std::uint32_t high = std::rotl(__builtin_bswap32(low), 13);
  return {Avalanche64(low ^ (Read32(kSecret) ^ Read32(kSecret + 4))),
          Avalanche64(high ^ (Read32(kSecret + 8) ^ Read32(kSecret + 12)))};
}

Pair HashUpTo8(const Byte* in, std::size_t size) {
  const std::uint64_t both = Read32(in) + (Read32(in + size - 4) << 32);
  Pair h = Multiply(both ^ Flip64(16), kPrime64_1 + (size << 2));
  h.high += h.low << 1;
  h.low ^= h.high >> 3;
  h.low ^= h.low >> 35;
  h.low *= kMix2;
  h.low ^= h.low >> 28;
  h.high = Avalanche(h.high);
  return h;
}

Pair HashUpTo16(const Byte* in, std::size_t size) {
  const std::uint64_t first = Read64(in);
  std::uint64_t last = Read64(in + size - 8);
  Pair m = Multiply(first ^ last ^ Flip64(32), kPrime64_1);
  m.low += std::uint64_t{size - 1} << 54;
  last ^= Flip64(48);
  m.high += last + (last & 0xFFFFFFFF) * (kPrime32_2 - 1);
  m.low ^= __builtin_bswap64(m.high);
  Pair h = Multiply(m.low, kPrime64_2);
  h.high += m.high * kPrime64_2;
  return {Avalanche(h.low), Avalanche(h.high)};
}

std::uint64_t Mix16(const Byte* in, const Byte* secret) {
  return Fold(Read64(in) ^ Read64(secret), Read64(in + 8) ^ Read64(secret + 8));
}
void Mix32(const Byte* a, const Byte* b, const Byte* secret, Pair& sum) {
  sum.low += Mix16(a, secret);
  sum.low ^= Read64(b) + Read64(b + 8);
  sum.high += Mix16(b, secret + 16);
  sum.high ^= Read64(a) + Read64(a + 8);
}

Pair HashUpTo240(const Byte* in, std::size_t size) {
  Pair sum{size * kPrime64_1, 0};
  if (size <= 128) {
    for (std::size_t i = (size - 1) / 32 + 1; i-- > 0;) {
      Mix32(in + 16 * i, in + size - 16 * (i + 1), kSecret + 32 * i, sum);
    }
  } else {
    for (std::size_t i = 0; i < 4; ++i) Mix32(in + 32 * i, in + 32 * i + 16, kSecret + 32 * i, sum);
    sum = {Avalanche(sum.low), Avalanche(sum.high)};
    for (std::size_t i = 4; i < size / 32; ++i) {
      Mix32(in + 32 * i, in + 32 * i + 16, kSecret + 3 + 32 * (i - 4), sum);
    }
    Mix32(in + size - 16, in + size - 32, kSecret + 136 - 17 - 16, sum);
  }
  const std::uint64_t high = sum.low * kPrime64_1 + sum.high * kPrime64_4 + size * kPrime64_2;
  return {Avalanche(sum.low + sum.high), 0 - Avalanche(high)};
}

constexpr std::size_t kStripe = 64;
constexpr std::size_t kBlock = (kSecretBytes - kStripe) / 8 * kStripe;
using Sums = std::array<std::uint64_t, 8>;

void AddStripe(const Byte* in, const Byte* secret, Sums& sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::uint64_t value = Read64(in + 8 * i);
    const std::uint64_t key = value ^ Read64(secret + 8 * i);
    sums[i ^ 1] += value;
    sums[i] += (key & 0xFFFFFFFF) * (key >> 32);
  }
}

std::uint64_t Merge(const Sums& sums, const Byte* secret, std::uint64_t start) {
  for (std::size_t i = 0; i < sums.size(); i += 2) {
    start += Fold(sums[i] ^ Read64(secret + 8 * i), sums[i + 1] ^ Read64(secret + 8 * i + 8));
  }
  return Avalanche(start);
}

Pair HashLong(const Byte* in, std::size_t size) {
  Sums sums{kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3,
            kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};
  for (std::size_t at = 0; at + kStripe < size; at += kStripe) {
    AddStripe(in + at, kSecret + at % kBlock / 8, sums);
    // A block that something follows.
    if ((at + kStripe) % kBlock != 0 || at + kStripe == size) continue;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i] ^= (sums[i] >> 47) ^ Read64(kSecret + kSecretBytes - kStripe + 8 * i);
      sums[i] *= kPrime32_1;
    }
  }
  AddStripe(in + size - kStripe, kSecret + kSecretBytes - kStripe - 7, sums);
  return {Merge(sums, kSecret + 11, size * kPrime64_1),
          Merge(sums, kSecret + kSecretBytes - kStripe - 11, ~(size * kPrime64_2))};
}

}  // namespace

Checksum PortableXxh3(ConstBytes bytes) {
  static_assert(std::endian::native == std::endian::little);
  const auto* in = reinterpret_cast<const Byte*>(bytes.data());
  const std::size_t size = bytes.size();
  Pair hash;
  if (size <= 3) {
    hash = HashUpTo3(in, size);
  } else if (size <= 8) {
    hash = HashUpTo8(in, size);
  } else if (size <= 16) {
    hash = HashUpTo16(in, size);
  } else if (size <= 240) {
    hash = HashUpTo240(in, size);
  } else {
    hash = HashLong(in, size);
  }
  // Canonical order: the most significant byte first.
  const std::uint64_t words[2] = {__builtin_bswap64(hash.high), __builtin_bswap64(hash.low)};
  Checksum checksum;
  static_assert(sizeof(words) == Checksum::kSize);
  std::memcpy(checksum.bytes.data(), words, Checksum::kSize);
  return checksum;
}

}  // namespace kdn
