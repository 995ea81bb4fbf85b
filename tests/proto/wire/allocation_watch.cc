#include "tests/proto/wire/allocation_watch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> bytes_max{0};
}  // namespace

void* operator new(std::size_t size) {
  bytes_max.store(std::max(bytes_max.load(), size));
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace kdn::test {

void ResetAllocationBytesMax() {
  bytes_max.store(0);
}

std::size_t AllocationBytesMax() {
  return bytes_max.load();
}

}  // namespace kdn::test
