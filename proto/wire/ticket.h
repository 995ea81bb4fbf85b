// The ticket of a put: the coordinator's word to the nodes that this client may store these chunks
// there. Opaque to the client; nodes check the MAC under the cluster's secret.
#pragma once

#include <cstdint>
#include <vector>

#include "base/crypto.h"
#include "proto/wire/message.h"

namespace kdn::wire {

inline constexpr std::size_t kChunksPerTicketMax = 32;

// One ticket covers up to kChunksPerTicketMax chunks that go to the same nodes under one put id.
struct Ticket {
  Epoch epoch{};
  TenantId tenant{};
  PutId put_id;
  ModelFingerprint model;
  std::uint16_t part_count = 1;
  std::uint64_t object_bytes_max = 0;  // of each object
  std::uint64_t expires_ms = 0;  // on the coordinator's clock, which heartbeats carry to nodes
  std::vector<NodeId> nodes;     // first replica first
  std::vector<ChunkKey> keys;

  friend bool operator==(const Ticket&, const Ticket&) = default;
};

// The ticket's bytes with their MAC (HMAC-SHA-256) at the end.
[[nodiscard]] Buffer SealTicket(const Ticket& ticket, const HmacKey& cluster_key);
// kPermissionDenied if the MAC is wrong, kInvalidArgument if the bytes are no ticket. Expiry,
// epoch, tenant and keys are the caller's to check.
[[nodiscard]] Result<Ticket> OpenTicket(ConstBytes bytes, const HmacKey& cluster_key);

}  // namespace kdn::wire
