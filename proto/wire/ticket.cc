#include "proto/wire/ticket.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

// The cluster's secret also signs Hellos: what begins with this is a ticket and nothing else.
constexpr std::uint32_t kMagic = 0x3154444B;  // "KDT1"
constexpr std::size_t kMacBytes = std::tuple_size_v<Digest>;

Ticket DecodeBody(ByteReader& in) {
  Ticket ticket;
  if (in.Integer<std::uint32_t>() != kMagic) in.Fail();
  ticket.epoch = in.Integer<Epoch>();
  ticket.tenant = in.Integer<TenantId>();
  ticket.put_id = in.OpaqueId<PutId>();
  ticket.model = in.OpaqueId<ModelFingerprint>();
  ticket.object_bytes_max = DecodeAtMost<std::uint64_t>(in, limits::kObjectBytesMax);
  ticket.expires_ms = in.Integer<std::uint64_t>();
  ticket.part_count = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax);
  const auto node_count = DecodeCount<std::uint8_t>(in, limits::kReplicasMax, sizeof(NodeId));
  const auto key_count = DecodeCount<std::uint8_t>(in, kChunksPerTicketMax, ChunkKey::kSize);
  if (ticket.part_count == 0 || node_count == 0 || key_count == 0) in.Fail();
  if (!in.ok()) return ticket;
  ticket.nodes.resize(node_count);
  for (NodeId& node : ticket.nodes) node = in.Integer<NodeId>();
  ticket.keys = DecodeIds<ChunkKey>(key_count, in);
  return ticket;
}

}  // namespace

// magic (4) ‖ epoch (4) ‖ tenant (8) ‖ put id (16) ‖ model (32) ‖ object bytes at most (8) ‖
// expiry (8) ‖ part count (2) ‖ node count (1) ‖ key count (1) ‖ nodes (4 each) ‖ keys (32 each) ‖
// MAC (32)
Buffer SealTicket(const Ticket& ticket, const HmacKey& cluster_key) {
  Buffer bytes;
  bytes.reserve(limits::kTicketBytesMax);
  ByteWriter writer(bytes);
  writer.Integer(kMagic);
  writer.Integer(ticket.epoch);
  writer.Integer(ticket.tenant);
  writer.Id(ticket.put_id);
  writer.Id(ticket.model);
  writer.Integer(ticket.object_bytes_max);
  writer.Integer(ticket.expires_ms);
  writer.Integer(ticket.part_count);
  writer.Integer(static_cast<std::uint8_t>(ticket.nodes.size()));
  writer.Integer(static_cast<std::uint8_t>(ticket.keys.size()));
  for (const NodeId node : ticket.nodes) writer.Integer(node);
  EncodeIds(ticket.keys, writer);
  writer.Bytes(cluster_key.Sign(bytes));
  return bytes;
}

Result<Ticket> OpenTicket(ConstBytes bytes, const HmacKey& cluster_key) {
  if (bytes.size() < kMacBytes || bytes.size() > limits::kTicketBytesMax) {
    return Error(Code::kInvalidArgument);
  }
  const ConstBytes body = bytes.first(bytes.size() - kMacBytes);
  // Before anything in it is believed.
  if (!EqualInConstantTime(cluster_key.Sign(body), bytes.last(kMacBytes))) {
    return Error(Code::kPermissionDenied);
  }
  ByteReader in(body);
  return Decoded(DecodeBody(in), in);
}

}  // namespace kdn::wire
