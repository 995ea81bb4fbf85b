// A fuzzer's input read as a list of steps: numbers and sizes from the front, zeros once it is
// over.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "transport/frame.h"

namespace kdn::transport::fuzz {

// A promise that is broken is a crash, which is what a fuzzer looks for.
inline void Require(bool holds, std::source_location at = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s:%u\n", at.file_name(), static_cast<unsigned>(at.line()));
  std::abort();
}

// Whether each byte is `value`.
inline bool AllAre(ConstBytes bytes, std::byte value) {
  return bytes.empty() || (bytes.front() == value &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

class Script {
 public:
  explicit Script(ConstBytes bytes) : bytes_(bytes) {}
  [[nodiscard]] bool AtEnd() const { return bytes_.empty(); }
  std::uint32_t Byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<std::uint32_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint32_t Short() {
    const std::uint32_t low = Byte();
    return low + 256 * Byte();
  }
  // A time of 1 ms to 65 s.
  std::chrono::milliseconds Time() { return std::chrono::milliseconds(1U << (Byte() % 17)); }
  ConstBytes Rest() { return std::exchange(bytes_, {}); }

 private:
  ConstBytes bytes_;
};

// The frame as bytes, with `body` behind it.
inline std::vector<std::byte> Framed(FrameHeader header, ConstBytes body) {
  header.size = static_cast<std::uint32_t>(body.size());
  FrameBytes head;
  Seal(header, body, head);
  std::vector<std::byte> bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

// Frames that came from the side under test: cut, and held to what a peer may rely on.
class FrameReader {
 public:
  struct Frame {
    FrameHeader header;
    ConstBytes body;  // until the next Add()
  };

  void Add(ConstBytes bytes) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(read_));
    read_ = 0;
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }
  // False while there is no whole frame. Aborts over one that is malformed.
  bool Next(Frame& frame) {
    const ConstBytes left = ConstBytes(pending_).subspan(read_);
    if (left.size() < kFrameHeaderBytes) return false;
    const auto header = OpenFrame(left.first(kFrameHeaderBytes));
    Require(header.has_value());
    if (left.size() < kFrameHeaderBytes + header->size) return false;
    frame = {*header, left.subspan(kFrameHeaderBytes, header->size)};
    if (HasMessageBody(header->type)) {
      Require(BodyIsIntact(left.first(kFrameHeaderBytes), frame.body));
    }
    read_ += kFrameHeaderBytes + header->size;
    return true;
  }

 private:
  std::vector<std::byte> pending_;
  std::size_t read_ = 0;
};

}  // namespace kdn::transport::fuzz
