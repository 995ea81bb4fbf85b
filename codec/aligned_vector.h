// Vectors that begin at a cache line, so that kernels' loads and stores do not lie across two, and
// that resize() leaves as memory is: what grows is written before it is read.
//
// Thread-safety: as std::vector.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <vector>

namespace kdn::codec {

template <class T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <class U>
  explicit LineAllocator(const LineAllocator<U>& /*other*/) {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kLine));
  }
  void deallocate(T* memory, std::size_t /*count*/) { ::operator delete(memory, kLine); }
  // What resize(n) calls for each new element; its value is unspecified.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  bool operator==(const LineAllocator&) const = default;
};

template <class T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

// Appends bytes; vector::insert() would go one by one, for the allocator's construct().
inline void Append(AlignedVector<std::byte>& to, const std::byte* from, std::size_t count) {
  const std::size_t at = to.size();
  to.resize(at + count);
  if (count != 0) std::memcpy(to.data() + at, from, count);
}

}  // namespace kdn::codec
