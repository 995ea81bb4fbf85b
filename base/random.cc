#include "base/random.h"

#include <sys/random.h>

#include <cstdlib>
#include <cstring>

namespace kdn {

void SystemRandom::Fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    // Fails only for a bad address or a signal during a long read; the next turn goes on.
    if (got > 0) out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t SeededRandom::Next() {
  // Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014), fig. 13.
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

void SeededRandom::Fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t word = Next();
    const std::size_t count = out.size() < sizeof(word) ? out.size() : sizeof(word);
    std::memcpy(out.data(), &word, count);
    out = out.subspan(count);
  }
}

PutId MakePutId(Epoch epoch, Random& random) {
  PutId id;
  random.Fill(id.bytes);
  for (std::size_t i = 0; i < sizeof(Epoch); ++i) {
    id.bytes[i] = static_cast<std::byte>(static_cast<std::uint32_t>(epoch) >> (8 * i));
  }
  return id;
}

}  // namespace kdn
