#include "tests/transport/allocation_count.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocated_bytes{0};
std::atomic<std::size_t> largest_bytes{0};

}  // namespace

void* operator new(std::size_t size) {
  allocated_bytes += size;
  largest_bytes = std::max(largest_bytes.load(), size);
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

namespace kdn::transport::test {

std::size_t AllocatedBytes() {
  return allocated_bytes;
}
std::size_t LargestAllocation() {
  return largest_bytes;
}
void ResetLargestAllocation() {
  largest_bytes = 0;
}

}  // namespace kdn::transport::test
