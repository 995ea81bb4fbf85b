#include "proto/wire/ticket.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace kdn::wire {
namespace {

const HmacKey kKey(AsBytes("cluster secret"));

Ticket LargestTicket() {
  Ticket ticket;
  ticket.epoch = Epoch{3};
  ticket.tenant = TenantId{5};
  ticket.object_bytes_max = limits::kObjectBytesMax;
  ticket.nodes = {NodeId{1}, NodeId{2}, NodeId{3}};
  ticket.keys.resize(kChunksPerTicketMax);
  return ticket;
}

TEST(Ticket, OpensAsItWasSealed) {
  const Buffer sealed = SealTicket(LargestTicket(), kKey);
  EXPECT_LE(sealed.size(), limits::kTicketBytesMax);
  EXPECT_EQ(OpenTicket(sealed, kKey).value(), LargestTicket());
}

TEST(Ticket, WithAnyBitFlippedIsDenied) {
  Buffer sealed = SealTicket(LargestTicket(), kKey);
  for (std::size_t bit = 0; bit < 8 * sealed.size(); bit += 7) {
    sealed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_EQ(OpenTicket(sealed, kKey).error().code(), Code::kPermissionDenied);
    sealed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

TEST(Ticket, OfAnotherClusterIsDenied) {
  const Buffer sealed = SealTicket(LargestTicket(), HmacKey(AsBytes("another secret")));
  EXPECT_EQ(OpenTicket(sealed, kKey).error().code(), Code::kPermissionDenied);
}

TEST(Ticket, TooShortOrTooLongIsInvalid) {
  EXPECT_EQ(OpenTicket(Buffer(31), kKey).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(OpenTicket(Buffer(limits::kTicketBytesMax + 1), kKey).error().code(),
            Code::kInvalidArgument);
}

TEST(Ticket, SignedWordsOfAnotherKindAreNoTicket) {
  Buffer hello(100, std::byte{7});
  ByteWriter(hello).Bytes(kKey.Sign(ConstBytes(hello)));
  EXPECT_EQ(OpenTicket(hello, kKey).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn::wire
