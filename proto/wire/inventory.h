// What a node reports about one stored object: all that Lookup answers, so that a new coordinator
// rebuilds its directory from inventories alone. Fixed size, so that a batch is an array.
#pragma once

#include <cstdint>

#include "proto/object/header.h"
#include "proto/wire/message.h"

namespace kdn::wire {

inline constexpr std::size_t kInventoryEntryBytes = 240;

struct InventoryEntry {
  TenantId tenant{};
  ChunkKey key;
  ChunkKey parent;
  ChunkKey chain_root;
  ModelFingerprint model;
  PutId put_id;
  MatchHash match_hash{};
  PartShape shape;
  std::uint32_t token_count = 0;
  Provenance provenance;
  LevelBytes level_bytes{};
  LevelSet in_dram;  // both empty: the object is gone
  LevelSet on_disk;

  void Encode(ByteWriter& out) const;            // exactly kInventoryEntryBytes
  static InventoryEntry Decode(ByteReader& in);  // fails `in` on a field out of bounds
  friend bool operator==(const InventoryEntry&, const InventoryEntry&) = default;
};

[[nodiscard]] InventoryEntry EntryOf(const ObjectHeader& header, LevelSet in_dram,
                                     LevelSet on_disk);

}  // namespace kdn::wire
