// Memory for numbers that vector code and BLAS read: aligned to a cache line, so that how a buffer
// happened to be allocated can never change which code path reads it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace kdn::llama {

inline constexpr std::align_val_t kBufferAlignment{64};

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, kBufferAlignment); }
};

// A fixed number of floats, zero at first.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t count)
      : data_(static_cast<float*>(::operator new(count * sizeof(float), kBufferAlignment))),
        count_(count) {
    std::fill_n(data_.get(), count, 0.0F);
  }

  [[nodiscard]] float* data() { return data_.get(); }
  [[nodiscard]] const float* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::span<float> span() { return {data_.get(), count_}; }

 private:
  std::unique_ptr<float[], AlignedDelete> data_;
  std::size_t count_ = 0;
};

}  // namespace kdn::llama
