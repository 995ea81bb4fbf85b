// How a client shows its memory to the server of a host: one message with descriptors over an
// AF_UNIX socket, and one answer. docs/protocol.md has the bytes.
//
//   client                              server
//   MemoryOffer, descriptors  ------->           tickets of a channel's connections, sizes
//                             <-------  verdict  one byte
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "transport/frame.h"
#include "transport/hello.h"
#include "transport/shm/gate.h"
#include "transport/wakeup.h"

namespace kdn::transport::shm {

inline constexpr std::size_t kOfferConnectionsMax = 16;
// The gates' memory, then the regions.
inline constexpr std::size_t kOfferDescriptorsMax = 1 + kSharedRegionsMax;
inline constexpr std::size_t kOfferBytesMax =
    8 + kOfferConnectionsMax * kNonceBytes + kOfferDescriptorsMax * sizeof(std::uint64_t);
inline constexpr std::size_t kGatesBytes = kSharedGatesMax * sizeof(GateWord);

struct MemoryOffer {
  std::vector<Nonce> tickets;        // of the connections it is for, in their order
  std::vector<std::uint64_t> sizes;  // of the regions, in the order of their descriptors

  void Encode(std::vector<std::byte>& out) const;
  // Nothing if it is malformed: too many of either, a size that is 0 or no multiple of a page, two
  // tickets alike.
  static std::optional<MemoryOffer> Decode(ConstBytes bytes);
  friend bool operator==(const MemoryOffer&, const MemoryOffer&) = default;
};

// One message with the descriptors that belong to it; false if the socket does not take it at once.
[[nodiscard]] bool SendWithDescriptors(int socket, ConstBytes bytes, std::span<const int> fds);

struct Received {
  enum class Kind : std::uint8_t { kNothing, kMessage, kBroken };
  Kind kind = Kind::kNothing;  // kBroken: closed, too long, or more descriptors than may be
  std::size_t size_bytes = 0;
  std::vector<Fd> fds;
};
// The next message, if one is there, in `into`. Descriptors that are not handed on are closed.
[[nodiscard]] Received ReceiveWithDescriptors(int socket, MutableBytes into);

}  // namespace kdn::transport::shm
