// Two small lists without a heap allocation in the common case: a lookup's answer has hundreds of
// chunks, nearly all of one part with two replicas, and is decoded on an engine's critical path.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

namespace kdn::wire {

// At most kMax elements, all inside the object.
template <class T, std::size_t kMax>
class FixedList {
 public:
  FixedList() = default;
  FixedList(std::initializer_list<T> elements) {
    for (const T& element : elements) push_back(element);
  }

  // Requires: size() < kMax.
  void push_back(const T& element) {
    assert(size_ < kMax);
    elements_[size_++] = element;
  }
  void clear() { size_ = 0; }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool full() const { return size_ == kMax; }
  [[nodiscard]] T* data() { return elements_.data(); }
  [[nodiscard]] const T* data() const { return elements_.data(); }
  [[nodiscard]] T* begin() { return data(); }
  [[nodiscard]] T* end() { return data() + size_; }
  [[nodiscard]] const T* begin() const { return data(); }
  [[nodiscard]] const T* end() const { return data() + size_; }
  [[nodiscard]] T& operator[](std::size_t index) { return elements_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return elements_[index]; }
  [[nodiscard]] T& front() { return elements_[0]; }
  [[nodiscard]] const T& front() const { return elements_[0]; }
  [[nodiscard]] T& back() { return elements_[size_ - 1]; }
  [[nodiscard]] const T& back() const { return elements_[size_ - 1]; }

  friend bool operator==(const FixedList& a, const FixedList& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<T, kMax> elements_{};
  std::size_t size_ = 0;
};

// The first element lies inside the object; when there are more, all lie on the heap.
template <class T>
class OneOrMore {
 public:
  OneOrMore() = default;
  OneOrMore(std::initializer_list<T> elements) {
    for (const T& element : elements) push_back(element);
  }

  void push_back(T element) {
    if (size_ == 0) {
      one_ = std::move(element);
    } else {
      if (size_ == 1) more_.push_back(std::move(one_));
      more_.push_back(std::move(element));
    }
    ++size_;
  }
  void resize(std::size_t size) {
    if (size > 1) {
      if (size_ == 1) more_.push_back(std::move(one_));
      more_.resize(size);
    } else {
      if (size_ > 1) one_ = std::move(more_[0]);
      if (size_ == 0 || size == 0) one_ = T{};
      more_.clear();
    }
    size_ = size;
  }
  void clear() { resize(0); }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] T* data() { return size_ > 1 ? more_.data() : &one_; }
  [[nodiscard]] const T* data() const { return size_ > 1 ? more_.data() : &one_; }
  [[nodiscard]] T* begin() { return data(); }
  [[nodiscard]] T* end() { return data() + size_; }
  [[nodiscard]] const T* begin() const { return data(); }
  [[nodiscard]] const T* end() const { return data() + size_; }
  [[nodiscard]] T& operator[](std::size_t index) { return data()[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return data()[index]; }
  [[nodiscard]] T& front() { return *data(); }
  [[nodiscard]] const T& front() const { return *data(); }
  [[nodiscard]] T& back() { return data()[size_ - 1]; }
  [[nodiscard]] const T& back() const { return data()[size_ - 1]; }

  friend bool operator==(const OneOrMore& a, const OneOrMore& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  T one_{};
  std::vector<T> more_;  // empty, or all elements
  std::size_t size_ = 0;
};

}  // namespace kdn::wire
