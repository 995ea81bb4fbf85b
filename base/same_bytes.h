// Compares ids by words where a call to memcmp() would cost more than the comparison: a lookup does
// so several times for every key it is asked for.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kdn {

template <class Id>
[[nodiscard]] inline bool SameBytes(const Id& a, const Id& b) {
  static_assert(Id::kSize % sizeof(std::uint64_t) == 0);
  std::uint64_t differing = 0;
  for (std::size_t at = 0; at < Id::kSize; at += sizeof(std::uint64_t)) {
    std::uint64_t word_a = 0;
    std::uint64_t word_b = 0;
    std::memcpy(&word_a, a.bytes.data() + at, sizeof(word_a));
    std::memcpy(&word_b, b.bytes.data() + at, sizeof(word_b));
    differing |= word_a ^ word_b;
  }
  return differing == 0;
}

}  // namespace kdn
