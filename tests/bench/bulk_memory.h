// Memory like the product's own: one mapping, touched, in huge pages where that is wished for and
// the system has them.
//
// Thread-safety: a value; its bytes are the caller's business.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/bytes.h"

namespace kdn::bench {

class BulkMemory {
 public:
  // Ends the program with 2 if there is no memory.
  explicit BulkMemory(std::size_t size_bytes, bool huge_pages = true) {
    void* const at =
        mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
      std::perror("bench: mmap");
      std::exit(2);
    }
    if (huge_pages) madvise(at, size_bytes, MADV_HUGEPAGE);
    std::memset(at, 0x5A, size_bytes);
    bytes_ = {static_cast<std::byte*>(at), size_bytes};
  }
  BulkMemory(BulkMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  BulkMemory& operator=(BulkMemory&&) = delete;
  ~BulkMemory() {
    if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
  }
  [[nodiscard]] MutableBytes bytes() const { return bytes_; }

 private:
  MutableBytes bytes_;
};

}  // namespace kdn::bench
