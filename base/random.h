// Randomness comes in from outside, so that a simulation can be rerun from its seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ids.h"

namespace kdn {

class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(std::span<std::byte> out) = 0;
};

// From the operating system: for ids, nonces and secrets. Thread-safety: safe.
class SystemRandom final : public Random {
 public:
  void Fill(std::span<std::byte> out) override;
};

// The same numbers for the same seed (SplitMix64): for tests and simulations, never for secrets.
// Thread-safety: not safe; caller synchronises.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void Fill(std::span<std::byte> out) override;
  [[nodiscard]] std::uint64_t Next();

 private:
  std::uint64_t state_;
};

template <class Id>
[[nodiscard]] Id RandomId(Random& random) {
  Id id;
  random.Fill(id.bytes);
  return id;
}

// The epoch's four bytes, little-endian, then twelve random ones.
[[nodiscard]] PutId MakePutId(Epoch epoch, Random& random);

}  // namespace kdn
