#include "transport/shm/offer.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/shm/shared_memory.h"

namespace kdn::transport::shm {
namespace {

constexpr std::uint32_t kOfferMagic = 0x4D4E444B;  // "KDNM"
constexpr std::uint8_t kOfferVersion = 1;

// The kernel's own bound is 253; whoever sends more than we take loses the message.
using ControlBytes = std::array<char, CMSG_SPACE(kOfferDescriptorsMax * sizeof(int))>;

}  // namespace

void MemoryOffer::Encode(std::vector<std::byte>& out) const {
  ByteWriter writer(out);
  writer.Integer(kOfferMagic);
  writer.Integer(kOfferVersion);
  writer.Integer(static_cast<std::uint8_t>(tickets.size()));
  writer.Integer(static_cast<std::uint8_t>(sizes.size()));
  writer.Zeros(1);
  for (const Nonce& ticket : tickets) writer.Bytes(ticket);
  for (const std::uint64_t size : sizes) writer.Integer(size);
}

std::optional<MemoryOffer> MemoryOffer::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  const auto magic = in.Integer<std::uint32_t>();
  const auto version = in.Integer<std::uint8_t>();
  const std::size_t tickets = in.Integer<std::uint8_t>();
  const std::size_t sizes = in.Integer<std::uint8_t>();
  in.Zeros(1);
  if (!in.ok() || magic != kOfferMagic || version != kOfferVersion || tickets == 0 ||
      tickets > kOfferConnectionsMax || sizes == 0 || sizes > kSharedRegionsMax) {
    return std::nullopt;
  }
  MemoryOffer offer;
  for (std::size_t i = 0; i < tickets; ++i) {
    const ConstBytes raw = in.Bytes(kNonceBytes);
    if (!in.ok()) return std::nullopt;
    Nonce ticket;
    std::copy(raw.begin(), raw.end(), ticket.begin());
    if (std::find(offer.tickets.begin(), offer.tickets.end(), ticket) != offer.tickets.end()) {
      return std::nullopt;
    }
    offer.tickets.push_back(ticket);
  }
  for (std::size_t i = 0; i < sizes; ++i) {
    const auto size = in.Integer<std::uint64_t>();
    if (size == 0 || size % kPageBytes != 0) return std::nullopt;
    offer.sizes.push_back(size);
  }
  if (!in.AtEnd()) return std::nullopt;
  return offer;
}

bool SendWithDescriptors(int socket, ConstBytes bytes, std::span<const int> fds) {
  if (fds.size() > kOfferDescriptorsMax) return false;
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) ControlBytes control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(bytes.size());
}

Received ReceiveWithDescriptors(int socket, MutableBytes into) {
  iovec vector{into.data(), into.size()};
  alignas(cmsghdr) ControlBytes control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Received received;
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return received;
  received.kind = Received::Kind::kBroken;
  if (got < 0) return received;
  // Whatever came with it is ours to close, also where the message is not taken.
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      received.fds.emplace_back(fd);
    }
  }
  if (got == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return received;
  received.kind = Received::Kind::kMessage;
  received.size_bytes = static_cast<std::size_t>(got);
  return received;
}

}  // namespace kdn::transport::shm
