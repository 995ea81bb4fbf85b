// Keyed and plain SHA-256, and comparison in constant time. Identity and authentication only;
// accidental corruption is xxHash's business (proto/object/checksum.h).
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace kdn {

using Digest = std::array<std::byte, 32>;

[[nodiscard]] Digest Sha256(ConstBytes data);

// HMAC-SHA-256 (RFC 2104). `secret` may have any length.
[[nodiscard]] Digest HmacSha256(ConstBytes secret, ConstBytes data);

// HMAC-SHA-256 under one secret for many messages: the two key blocks are hashed once.
class HmacKey {
 public:
  explicit HmacKey(ConstBytes secret);
  [[nodiscard]] Digest Sign(ConstBytes data) const;

 private:
  // The state of a SHA-256 after the key's block.
  using State = std::array<std::uint32_t, 8>;
  State inner_;
  State outer_;
};

// Takes time that depends on the sizes only.
[[nodiscard]] bool EqualInConstantTime(ConstBytes a, ConstBytes b);

}  // namespace kdn
