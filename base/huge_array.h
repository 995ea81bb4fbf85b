// A large array of zeroes from the system, aligned to huge pages and asking for them: a table that
// is read at random in all places else spends as long on finding pages as on reading.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

namespace kdn {

// Elements begin as all zero bytes and are never destroyed. An array of less than a huge page is
// ordinary memory.
template <class T>
class HugeArray {
 public:
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  static constexpr std::size_t kPageBytes = std::size_t{2} << 20;

  HugeArray() = default;
  // Throws std::bad_alloc if there is no memory.
  explicit HugeArray(std::size_t size) : size_(size), mapped_bytes_(size * sizeof(T)) {
    if (mapped_bytes_ < kPageBytes) {
      data_ = static_cast<T*>(std::calloc(size, sizeof(T)));
      mapped_bytes_ = 0;
      if (data_ == nullptr && size > 0) throw std::bad_alloc();
      return;
    }
    mapped_bytes_ = (mapped_bytes_ + kPageBytes - 1) / kPageBytes * kPageBytes;
    data_ = static_cast<T*>(Map(mapped_bytes_));
  }
  HugeArray(HugeArray&& other) noexcept { swap(other); }
  HugeArray& operator=(HugeArray&& other) noexcept {
    HugeArray taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~HugeArray() {
    if (mapped_bytes_ > 0) {
      ::munmap(data_, mapped_bytes_);
    } else {
      std::free(data_);
    }
  }

  void swap(HugeArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& operator[](std::size_t index) { return data_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  // Maps a page more, and gives back what lies before and behind the aligned part.
  static void* Map(std::size_t bytes) {
    void* mapped = ::mmap(nullptr, bytes + kPageBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<std::byte*>(mapped);
    const std::size_t before =
        (kPageBytes - reinterpret_cast<std::size_t>(begin) % kPageBytes) % kPageBytes;
    if (before > 0) ::munmap(begin, before);
    ::munmap(begin + before + bytes, kPageBytes - before);
    (void)::madvise(begin + before, bytes, MADV_HUGEPAGE);
    return begin + before;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_bytes_ = 0;  // 0: from calloc()
};

}  // namespace kdn
