// Who holds what: for each (tenant, chunk key) the objects stored under it and on which nodes. Soft
// state: all of it comes from nodes' inventories and from commits, and can be told again. Knows
// nothing of transport, of puts under way or of time.
//
// Open-addressing tables of 8-byte slots, one per shard of the keys' hash so that growing one holds
// up lookups for milliseconds at most, over a pool of fixed-size records: one per stored part, with
// room for three replicas; the records of one key form a list. What a lookup reads of a record
// fills two cache lines, what else is known of it lies elsewhere. A record and its share of slots
// take less than 200 bytes and no allocation of their own.
//
// A replica is skipped, without being touched, while its node is dead or once the node has reported
// anew without naming it; Sweep() clears such leftovers a few at a time.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/huge_array.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/same_bytes.h"
#include "proto/wire/inventory.h"
#include "proto/wire/lookup.h"
#include "proto/wire/node_ops.h"

namespace kdn::coordinator {

// Which chunks a lookup may return.
struct LookupFilter {
  TenantId tenant{};
  ProvenanceKind floor = ProvenanceKind::kUnknown;
  Level level_min = Level::kDraft;
};

// One replica of one part, for tools, drops and snapshots.
struct StoredReplica {
  wire::ObjectName name;
  ChunkKey parent;
  ModelFingerprint model;
  Provenance provenance;
  PartShape shape;
  std::uint32_t token_count = 0;
  LevelBytes level_bytes{};
  wire::ReplicaLocation at;
};

// What became of a replica; kept only while somebody watches.
struct DirectoryChange {
  bool stored = false;  // else removed
  TenantId tenant{};
  ChunkKey key;
  ChunkKey parent;
  ModelFingerprint model;
  std::uint32_t token_count = 0;
  NodeId node{};
  LevelSet levels;
};

struct DirectorySize {
  std::uint64_t chunks = 0;     // distinct keys
  std::uint64_t objects = 0;    // stored parts
  std::uint64_t locations = 0;  // replicas of them, leftovers included until they are swept
  std::uint64_t bytes_stored = 0;
  std::uint64_t memory_bytes = 0;
};

class Directory {
 public:
  // `hash_seed` is random, so that nobody can choose keys that fall into one place.
  explicit Directory(std::uint64_t hash_seed);

  // Replicas on a node count only while it is alive. A node that was never mentioned is dead.
  void SetAlive(NodeId node, bool alive);
  // A full report was asked for: what was known before counts until its end.
  void ExpectReport(NodeId node);
  // A full report has come to its end. What neither it nor an answer since the report before, or
  // since ExpectReport(), told counts no more.
  void EndReport(NodeId node);
  // Nothing that the node was known to hold counts any more.
  void Forget(NodeId node);

  // Who tells of an object. A change comes before the node's next full report, which so tells the
  // object again or has lost it. An answer to a call overtakes both: the object may have been
  // committed after the node had looked for its next report, and outlasts that one.
  enum class Source { kReport, kChange, kAnswer };
  // Takes over what `node` says it holds; both level sets empty: it holds the object no more.
  void Apply(NodeId node, const wire::InventoryEntry& entry, Source source);
  // Asks for the memory that Apply() of a later entry will read. kSlot is to come a while before
  // kRecord.
  enum class Ahead { kSlot, kRecord };
  void Prefetch(TenantId tenant, const ChunkKey& key, Ahead ahead) const {
    const std::uint32_t tag = TagOf(tenant, key);
    ahead == Ahead::kSlot ? PrefetchSlot(tag) : PrefetchRecord(tag);
  }
  // The node holds this object no more.
  void Remove(NodeId node, const wire::ObjectName& object);

  // Hands the chunks of the longest prefix of `keys` that can be loaded and passes the filter to
  // `sink(const wire::ChunkLocation&)`, in order, until it returns false. Returns how many. What
  // the sink gets stays until it has returned for the chunk after.
  template <class Sink>
  std::size_t WalkChain(const LookupFilter& filter, std::span<const ChunkKey> keys,
                        Sink&& sink) const;
  // The complete put of best provenance under this key, if one passes the filter.
  [[nodiscard]] bool Find(const LookupFilter& filter, const ChunkKey& key,
                          wire::ChunkLocation& out) const;
  // Whether every part of this put is on some alive node.
  [[nodiscard]] bool IsComplete(TenantId tenant, const ChunkKey& key, const PutId& put_id) const;

  // Every replica that counts, of this key or of all keys. Scan() starts at `cursor` (0: the
  // beginning), looks at `records` records and returns where to go on; 0 at the end. Replicas that
  // are neither added nor removed meanwhile are seen exactly once.
  using Visitor = std::function<void(const StoredReplica&)>;
  void Visit(TenantId tenant, const ChunkKey& key, const Visitor& visit) const;
  [[nodiscard]] std::uint64_t Scan(std::uint64_t cursor, std::uint32_t records,
                                   const Visitor& visit) const;

  // Looks at the next `records` records and removes replicas that count no more, except those of
  // nodes that are only silent.
  void Sweep(std::uint32_t records);

  // From now on changes are kept until they are taken.
  void WatchChanges(bool watched);
  [[nodiscard]] std::vector<DirectoryChange> TakeChanges();

  [[nodiscard]] DirectorySize size() const;

 private:
  struct Replica {
    NodeId node{};  // 0: free
    std::uint16_t report = 0;
    LevelSet in_dram;
    LevelSet on_disk;
  };
  // Ordered so that what a walk compares lies in the first cache line.
  struct alignas(64) Record {
    ChunkKey key;
    PutId put_id;
    TenantId tenant{};
    std::uint32_t next = 0;  // of this key, or of the free list; 0: none
    Provenance provenance;
    std::array<Replica, limits::kReplicasMax> replicas;  // none: the record is free
    PartShape shape;
    std::uint32_t token_count = 0;
    LevelBytes level_bytes{};
    std::uint32_t model = 0;  // index into models_
  };
  // What lookups do not need.
  struct Rest {
    ChunkKey parent;
    MatchHash match_hash{};  // for finding free chains at any offset
  };
  struct Slot {
    std::uint32_t record = 0;  // 0: empty
    std::uint32_t tag = 0;     // hash of tenant and key; its low bits say where the slot belongs
  };
  struct NodeView {
    bool alive = false;
    // Entries of the reports from `current` to `incoming` count: of the last that was complete, and
    // of the one to come.
    std::uint16_t current = 0;
    std::uint16_t incoming = 0;
    std::uint16_t last = 0;  // number given out
  };

  // The slots of one shard: a power of two of them, each where the low bits of its tag say or
  // behind.
  struct Shard {
    HugeArray<Slot> slots;
    std::uint32_t mask = 0;
    std::uint32_t used = 0;
  };

  static constexpr std::uint32_t kShardBits = 3;
  static constexpr std::uint32_t kRecordsPerSlab = 1U << 14;  // 2 MiB of them

  [[nodiscard]] Record& At(std::uint32_t record) {
    return records_[record / kRecordsPerSlab][record % kRecordsPerSlab];
  }
  [[nodiscard]] const Record& At(std::uint32_t record) const {
    return records_[record / kRecordsPerSlab][record % kRecordsPerSlab];
  }
  [[nodiscard]] Rest& RestOf(std::uint32_t record) {
    return rests_[record / kRecordsPerSlab][record % kRecordsPerSlab];
  }
  [[nodiscard]] const Rest& RestOf(std::uint32_t record) const {
    return rests_[record / kRecordsPerSlab][record % kRecordsPerSlab];
  }
  [[nodiscard]] static std::uint32_t Number(NodeId node) {
    return static_cast<std::uint32_t>(node);
  }
  [[nodiscard]] static bool IsUsed(const Record& record);
  [[nodiscard]] std::uint32_t TagOf(TenantId tenant, const ChunkKey& key) const;
  [[nodiscard]] const Shard& ShardOf(std::uint32_t tag) const {
    return shards_[tag >> (32 - kShardBits)];
  }
  [[nodiscard]] Shard& ShardOf(std::uint32_t tag) { return shards_[tag >> (32 - kShardBits)]; }
  [[nodiscard]] std::size_t SlotOf(std::uint32_t tag, TenantId tenant, const ChunkKey& key) const;
  [[nodiscard]] std::uint32_t HeadOf(TenantId tenant, const ChunkKey& key) const;
  // Starts fetching the slot of this tag, and the record in it, into the cache.
  void PrefetchSlot(std::uint32_t tag) const {
    const Shard& shard = ShardOf(tag);
    __builtin_prefetch(&shard.slots[tag & shard.mask]);
  }
  void PrefetchRecord(std::uint32_t tag) const;
  // As Find(), the hash being known.
  [[nodiscard]] bool FindTagged(std::uint32_t tag, const LookupFilter& filter, const ChunkKey& key,
                                wire::ChunkLocation& out) const;
  static void Grow(Shard& shard);
  static void EraseSlot(Shard& shard, std::size_t slot);

  [[nodiscard]] std::uint32_t NewRecord(const wire::InventoryEntry& entry);
  void Unlink(std::uint32_t record);
  [[nodiscard]] std::uint32_t ModelIndex(const ModelFingerprint& model);

  [[nodiscard]] NodeView& ViewOf(NodeId node);
  [[nodiscard]] bool IsCurrent(const Replica& replica) const;  // told by the latest reports
  [[nodiscard]] bool Counts(const Replica& replica) const;     // current, and its node is alive
  [[nodiscard]] std::uint16_t NextReport(NodeId node);

  void Store(NodeId node, const wire::InventoryEntry& entry, Source source);
  [[nodiscard]] Replica* PlaceFor(NodeId node, const wire::InventoryEntry& entry,
                                  std::uint32_t& record);
  void ClearReplica(std::uint32_t record, Replica& replica);
  void Note(bool stored, std::uint32_t record, const Replica& replica);

  [[nodiscard]] bool FindAt(std::uint32_t head, const LookupFilter& filter,
                            wire::ChunkLocation& out) const;
  [[nodiscard]] bool Assemble(std::uint32_t head, const PutId& put_id, Level level_min,
                              wire::ChunkLocation& out) const;
  [[nodiscard]] bool FillPart(const Record& record, Level level_min, wire::PartLocation& out) const;
  void VisitRecord(std::uint32_t record, const Visitor& visit) const;

  std::uint64_t hash_seed_;
  std::array<Shard, 1U << kShardBits> shards_;
  std::uint64_t chunk_count_ = 0;
  std::vector<HugeArray<Record>> records_;
  std::vector<HugeArray<Rest>> rests_;
  std::uint32_t record_count_ = 1;  // handed out so far; record 0 is none
  std::uint32_t free_list_ = 0;
  std::uint64_t object_count_ = 0;
  std::uint64_t location_count_ = 0;
  std::uint64_t bytes_stored_ = 0;
  std::vector<NodeView> nodes_;  // by node id
  std::vector<ModelFingerprint> models_;
  std::map<ModelFingerprint, std::uint32_t> model_index_;
  std::uint64_t sweep_at_ = 1;
  bool watched_ = false;
  std::vector<DirectoryChange> changes_;

  // A shard is at least three eighths full once it has grown.
  static_assert(sizeof(Record) == 128 && sizeof(Record) + sizeof(Rest) + 3 * sizeof(Slot) <= 200);
};

// The two below are the inner loop of a lookup, and so here.
inline std::uint32_t Directory::TagOf(TenantId tenant, const ChunkKey& key) const {
  __extension__ using Wide = unsigned __int128;
  // The two halves of a 128-bit product, folded: the step of wyhash.
  const auto folded = [](std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  std::array<std::uint64_t, 4> words;
  std::memcpy(words.data(), key.bytes.data(), sizeof(words));
  std::uint64_t hash =
      folded(words[0] ^ hash_seed_, words[1] ^ (static_cast<std::uint64_t>(tenant) + hash_seed_));
  hash = folded(words[2] ^ hash, words[3] ^ (hash_seed_ * 0x9E3779B97F4A7C15ULL));
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

inline std::size_t Directory::SlotOf(std::uint32_t tag, TenantId tenant,
                                     const ChunkKey& key) const {
  const Shard& shard = ShardOf(tag);
  std::size_t slot = tag & shard.mask;
  while (shard.slots[slot].record != 0) {
    if (shard.slots[slot].tag == tag) {
      const Record& record = At(shard.slots[slot].record);
      if (SameBytes(record.key, key) && record.tenant == tenant) return slot;
    }
    slot = (slot + 1) & shard.mask;
  }
  return slot;  // empty: where the key would go
}

// Keys are known ahead, so memory is asked for ahead: a slot before its record, and that before it
// is needed, each by so many keys that memory has the time.
template <class Sink>
std::size_t Directory::WalkChain(const LookupFilter& filter, std::span<const ChunkKey> keys,
                                 Sink&& sink) const {
  constexpr std::size_t kSlotsAhead = 32;
  constexpr std::size_t kRecordsAhead = 16;
  std::array<std::uint32_t, kSlotsAhead> tags;  // of keys [i, i + kSlotsAhead)
  for (std::size_t i = 0; i < std::min(kSlotsAhead, keys.size()); ++i) {
    tags[i] = TagOf(filter.tenant, keys[i]);
    PrefetchSlot(tags[i]);
  }
  for (std::size_t i = 0; i < std::min(kRecordsAhead, keys.size()); ++i) PrefetchRecord(tags[i]);
  std::array<wire::ChunkLocation, 2> locations;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::uint32_t tag = tags[i % kSlotsAhead];
    if (i + kRecordsAhead < keys.size()) PrefetchRecord(tags[(i + kRecordsAhead) % kSlotsAhead]);
    if (i + kSlotsAhead < keys.size()) {
      tags[i % kSlotsAhead] = TagOf(filter.tenant, keys[i + kSlotsAhead]);
      PrefetchSlot(tags[i % kSlotsAhead]);
    }
    wire::ChunkLocation& location = locations[i % 2];
    if (!FindTagged(tag, filter, keys[i], location)) return i;
    if (!sink(static_cast<const wire::ChunkLocation&>(location))) return i + 1;
  }
  return keys.size();
}

}  // namespace kdn::coordinator
