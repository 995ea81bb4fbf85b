// Byte spans, and the little-endian reader and writer with which everything that crosses a border
// is laid out. Host order never reaches a wire or a disk.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/ids.h"

namespace kdn {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

[[nodiscard]] inline ConstBytes AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
[[nodiscard]] inline std::string_view AsText(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
concept WireInteger = std::unsigned_integral<T> || std::is_enum_v<T>;

// Appends to a vector that the caller owns and may reuse.
class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& out) : out_(out) {}

  template <WireInteger T>
  void Integer(T value) {
    static_assert(std::endian::native == std::endian::little);  // Else swap here.
    const std::size_t at = out_.size();
    out_.resize(at + sizeof(T));
    const auto raw = static_cast<std::uint64_t>(ToRaw(value));
    std::memcpy(out_.data() + at, &raw, sizeof(T));
  }
  void Bytes(ConstBytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void Zeros(std::size_t count) { out_.resize(out_.size() + count); }
  template <class Tag, std::size_t kBytes>
  void Id(const OpaqueId<Tag, kBytes>& id) {
    Bytes(id.bytes);
  }
  // A length of four bytes, then the bytes.
  void Sized(ConstBytes bytes) {
    Integer(static_cast<std::uint32_t>(bytes.size()));
    Bytes(bytes);
  }
  [[nodiscard]] std::size_t size() const { return out_.size(); }

 private:
  template <WireInteger T>
  static auto ToRaw(T value) {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<std::make_unsigned_t<std::underlying_type_t<T>>>(value);
    } else {
      return value;
    }
  }
  std::vector<std::byte>& out_;
};

// Reads a span from its front. A read past the end yields zeros and makes ok() false for good, so a
// parser reads all its fields and asks once. Nothing is copied but what the caller takes.
class ByteReader {
 public:
  explicit ByteReader(ConstBytes in) : in_(in) {}

  template <WireInteger T>
  [[nodiscard]] T Integer() {
    static_assert(std::endian::native == std::endian::little);  // Else swap here.
    if (in_.size() < sizeof(T)) {
      Fail();
      return static_cast<T>(0);
    }
    std::uint64_t value = 0;
    std::memcpy(&value, in_.data(), sizeof(T));
    in_ = in_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  template <class Id>
  [[nodiscard]] Id OpaqueId() {
    Id id;
    const ConstBytes raw = Bytes(Id::kSize);
    if (raw.size() == Id::kSize) std::memcpy(id.bytes.data(), raw.data(), Id::kSize);
    return id;
  }
  // A view of the next `count` bytes; empty, and ok() false, if fewer are left.
  [[nodiscard]] ConstBytes Bytes(std::size_t count) {
    if (in_.size() < count) {
      Fail();
      return {};
    }
    const ConstBytes taken = in_.first(count);
    in_ = in_.subspan(count);
    return taken;
  }
  // What ByteWriter::Sized() wrote; fails if it says more than `size_max`.
  [[nodiscard]] ConstBytes Sized(std::size_t size_max) {
    const auto size = Integer<std::uint32_t>();
    if (size > size_max) {
      Fail();
      return {};
    }
    return Bytes(size);
  }
  // Reserved bytes must be zero: what is ignored today could not be given a meaning tomorrow.
  void Zeros(std::size_t count) {
    for (const std::byte b : Bytes(count)) {
      if (b != std::byte{0}) Fail();
    }
  }
  void Fail() {
    ok_ = false;
    in_ = {};
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return ok_ && in_.empty(); }
  [[nodiscard]] ConstBytes rest() const { return in_; }

 private:
  ConstBytes in_;
  bool ok_ = true;
};

}  // namespace kdn
