// Hands out pieces of one vector that a caller keeps and reuses, so that coding a tile allocates
// only while the vector still grows.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

namespace kdn::codec {

class Scratch {
 public:
  static constexpr std::size_t kAlignment = 64;

  // Room for Take(count) of T. Add up what will be taken and pass the sum to the constructor.
  template <class T>
  [[nodiscard]] static constexpr std::size_t Room(std::size_t count) {
    return (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }

  Scratch(std::vector<std::byte>& memory, std::size_t room) {
    if (memory.size() < room + kAlignment) memory.resize(room + kAlignment);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    rest_ = std::span(memory).subspan((kAlignment - address % kAlignment) % kAlignment, room);
  }

  // `count` objects, their contents unspecified for T of one byte and T{} otherwise. Requires: what
  // was taken so far and this fit into the room.
  template <class T>
  [[nodiscard]] std::span<T> Take(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlignment);
    const std::span<std::byte> piece = rest_.first(Room<T>(count));
    rest_ = rest_.subspan(piece.size());
    T* first = reinterpret_cast<T*>(piece.data());
    if constexpr (sizeof(T) > 1) std::uninitialized_value_construct_n(first, count);
    return {first, count};
  }

 private:
  std::span<std::byte> rest_;
};

}  // namespace kdn::codec
