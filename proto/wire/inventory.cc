#include "proto/wire/inventory.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kReservedBytes = 42;

}  // namespace

// tenant (8) ‖ key, parent, chain root, model (32 each) ‖ put id (16) ‖ match hash (8) ‖ part (12)
// ‖ token count (4) ‖ provenance (4) ‖ level bytes (16) ‖ levels in dram (1), on disk (1) ‖ 0 (42)
void InventoryEntry::Encode(ByteWriter& out) const {
  out.Integer(tenant);
  out.Id(key);
  out.Id(parent);
  out.Id(chain_root);
  out.Id(model);
  out.Id(put_id);
  out.Integer(match_hash);
  EncodePartShape(shape, out);
  out.Integer(token_count);
  out.Integer(PackProvenance(provenance));
  EncodeLevelBytes(level_bytes, out);
  out.Integer(in_dram.bits());
  out.Integer(on_disk.bits());
  out.Zeros(kReservedBytes);
}

InventoryEntry InventoryEntry::Decode(ByteReader& in) {
  InventoryEntry entry;
  entry.tenant = in.Integer<TenantId>();
  entry.key = in.OpaqueId<ChunkKey>();
  entry.parent = in.OpaqueId<ChunkKey>();
  entry.chain_root = in.OpaqueId<ChunkKey>();
  entry.model = in.OpaqueId<ModelFingerprint>();
  entry.put_id = in.OpaqueId<PutId>();
  entry.match_hash = in.Integer<MatchHash>();
  entry.shape = DecodePartShape(in);
  entry.token_count = DecodeAtMost<std::uint32_t>(in, limits::kTokensPerChunkMax);
  entry.provenance = DecodeProvenance(in);
  entry.level_bytes = DecodeLevelBytes(in);
  entry.in_dram = DecodeLevels(in);
  entry.on_disk = DecodeLevels(in);
  in.Zeros(kReservedBytes);
  return entry;
}

InventoryEntry EntryOf(const ObjectHeader& header, LevelSet in_dram, LevelSet on_disk) {
  return {.tenant = header.tenant,
          .key = header.key,
          .parent = header.parent,
          .chain_root = header.chain_root,
          .model = header.model,
          .put_id = header.put_id,
          .match_hash = header.match_hash,
          .shape = header.part,
          .token_count = header.token_count,
          .provenance = header.provenance,
          .level_bytes = header.level_bytes,
          .in_dram = in_dram,
          .on_disk = on_disk};
}

}  // namespace kdn::wire
