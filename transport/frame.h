// The frames into which TCP cuts calls, after the Hello; docs/protocol.md has their layout. A frame
// is a header of fixed size and `size` bytes of body: of a message the whole body, of bulk a slice.
//
// Bulk travels as pieces: slices of ascending offset, then a kPieceEnd. What was abandoned halfway
// is filled up with zeros and never gets its end, so a receiver takes no slice for a piece. Slices
// of different calls interleave; those of one call do not.
//
// Knows nothing of sockets, nor of what the bytes mean.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/status.h"

namespace kdn::transport {

enum class FrameType : std::uint8_t {
  kRequest = 1,   // body: the request; size_a, size_b: what the caller sends and has room for;
                  // piece, offset: see SharedBulk
  kResponse = 2,  // body: the response; code
  kSlice = 3,     // body: bytes at `offset` of the window, or of send_bulk where they answer a pull
  kPieceEnd = 4,  // the piece at `offset` with size_a bytes is whole; in shared memory no slices
                  // come before it
  kPull = 5,      // asks for size_a bytes at `offset` of send_bulk, as `piece`
  kCancel = 6,    // the caller does not wait for the answer any more
  kGoodbye = 7,   // the sender closes; `code` is why
};

inline constexpr std::size_t kFrameHeaderBytes = 56;
// A slice is long enough to make the cost of its system calls small, and short enough that a
// response never waits long behind it.
inline constexpr std::size_t kSliceBytesMax = 512 * limits::kKiB;
// Pulls of one call that a server may have asked for and not yet got.
inline constexpr std::uint32_t kPullsPerCallMax = 16;
// Of a request whose bulk lies in shared memory: `piece` says in which region, counted from 1, and
// which gate guards the call; `offset` says where in the region it begins. Else both are zero.
inline constexpr std::uint32_t kSharedRegionsMax = 8;
inline constexpr std::uint32_t kSharedGatesMax = limits::kCallsPerConnectionMax;
struct SharedBulk {
  std::uint32_t region = 0;  // 0: none
  std::uint32_t gate = 0;
  friend bool operator==(const SharedBulk&, const SharedBulk&) = default;
};
[[nodiscard]] constexpr std::uint32_t PackSharedBulk(SharedBulk bulk) {
  return bulk.gate << 8 | bulk.region;
}
[[nodiscard]] constexpr SharedBulk UnpackSharedBulk(std::uint32_t piece) {
  return {piece & 0xFF, piece >> 8};
}
// The low bits of a call's id are its slot: a connection has at most one open call in each, so that
// both sides find a call by index. The other bits make ids of one slot differ.
inline constexpr std::uint32_t kCallSlots = limits::kCallsPerConnectionMax;
static_assert((kCallSlots & (kCallSlots - 1)) == 0);

[[nodiscard]] constexpr std::uint32_t SlotOf(std::uint32_t call) {
  return call % kCallSlots;
}

// What a type does not use is zero.
struct FrameHeader {
  FrameType type = FrameType::kGoodbye;
  Code code = Code::kOk;
  std::uint32_t call = 0;
  std::uint32_t piece = 0;
  std::uint32_t size = 0;  // of the body
  std::uint64_t offset = 0;
  std::uint64_t size_a = 0;
  std::uint64_t size_b = 0;
  std::uint64_t remaining_us = 0;  // of kRequest: until the deadline, when it was sent
  std::uint64_t checksum = 0;      // see Seal()

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

using FrameBytes = std::array<std::byte, kFrameHeaderBytes>;

// Lays out `header` with the checksum over all its other fields and, of a message, its body. Bulk
// carries checksums of its own, made where it was made.
void Seal(const FrameHeader& header, ConstBytes body, FrameBytes& out);

// Reads a header and checks every length against base/limits.h. Nothing if it is malformed; for a
// frame without a message body also if its checksum is wrong.
[[nodiscard]] std::optional<FrameHeader> OpenFrame(ConstBytes bytes);

// Whether body and header of a kRequest or kResponse are as they were sealed. Requires: `bytes` are
// what OpenFrame() read.
[[nodiscard]] bool BodyIsIntact(ConstBytes bytes, ConstBytes body);

[[nodiscard]] constexpr bool HasMessageBody(FrameType type) {
  return type == FrameType::kRequest || type == FrameType::kResponse;
}

}  // namespace kdn::transport
