// Identities. Each is a type of its own, so that a put id cannot be passed for a chunk key, nor a
// node for a tenant; none has arithmetic.
//
// A .cu file may include this header, so it stays within C++17.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace kdn {

// kBytes opaque bytes, compared and hashed as such. Tag makes each instance a type of its own.
template <class Tag, std::size_t kBytes>
struct OpaqueId {
  static constexpr std::size_t kSize = kBytes;
  std::array<std::byte, kBytes> bytes{};

  [[nodiscard]] bool IsZero() const { return *this == OpaqueId{}; }
  friend bool operator==(const OpaqueId& a, const OpaqueId& b) {
    return std::memcmp(a.bytes.data(), b.bytes.data(), kBytes) == 0;
  }
  friend bool operator!=(const OpaqueId& a, const OpaqueId& b) { return !(a == b); }
  friend bool operator<(const OpaqueId& a, const OpaqueId& b) {
    return std::memcmp(a.bytes.data(), b.bytes.data(), kBytes) < 0;
  }
};

// Identity of a chunk: see proto/object/chunk_key.h. Zero is no key ("no parent").
using ChunkKey = OpaqueId<struct ChunkKeyTag, 32>;
// SHA-256 of a model spec's canonical encoding.
using ModelFingerprint = OpaqueId<struct ModelFingerprintTag, 32>;
// SHA-256 of a profile's bytes; zero means that no profile was used.
using ProfileId = OpaqueId<struct ProfileIdTag, 32>;
// One attempt to store a chunk: a durable 4-byte epoch, then 12 random bytes. Never used for two
// encodings.
using PutId = OpaqueId<struct PutIdTag, 16>;
// XXH3-128 over what a tile is and holds, in canonical (big-endian) byte order.
using Checksum = OpaqueId<struct ChecksumTag, 16>;
// A cluster, a peer process, a host; drawn at random by their owners.
using ClusterId = OpaqueId<struct ClusterIdTag, 16>;
using PeerId = OpaqueId<struct PeerIdTag, 16>;
using HostId = OpaqueId<struct HostIdTag, 16>;
// What one request is called from the engine to the disk.
using TraceId = OpaqueId<struct TraceIdTag, 16>;

enum class NodeId : std::uint32_t {};     // given by the coordinator, never reused; 0 is no node
enum class TenantId : std::uint64_t {};   // 0 is the operator's own, never a tenant's
enum class SecretId : std::uint32_t {};   // which of a tenant's chunk secrets made a key
enum class MatchHash : std::uint64_t {};  // 0: the chunk begins no free chain
enum class Epoch : std::uint32_t {};      // one reign of a coordinator; grows by one each start

// Lower-case hexadecimal, two characters a byte.
template <class Tag, std::size_t kBytes>
[[nodiscard]] std::string ToHex(const OpaqueId<Tag, kBytes>& id) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * kBytes);
  for (const std::byte b : id.bytes) {
    text.push_back(kDigits[static_cast<std::size_t>(b) >> 4]);
    text.push_back(kDigits[static_cast<std::size_t>(b) & 15]);
  }
  return text;
}

// Reads what ToHex() wrote. False, and `id` unchanged, for anything else.
template <class Tag, std::size_t kBytes>
[[nodiscard]] bool FromHex(std::string_view text, OpaqueId<Tag, kBytes>& id) {
  if (text.size() != 2 * kBytes) return false;
  OpaqueId<Tag, kBytes> read;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else {
      return false;
    }
    const auto high = static_cast<unsigned>(read.bytes[i / 2]) << 4;
    read.bytes[i / 2] = static_cast<std::byte>(high | digit);
  }
  id = read;
  return true;
}

// For hash tables over ids that are already uniformly distributed (keyed hashes, random draws):
// takes the first eight bytes as they are.
struct IdHash {
  template <class Tag, std::size_t kBytes>
  std::size_t operator()(const OpaqueId<Tag, kBytes>& id) const {
    static_assert(kBytes >= sizeof(std::size_t));
    std::size_t hash = 0;
    std::memcpy(&hash, id.bytes.data(), sizeof(hash));
    return hash;
  }
};

}  // namespace kdn
