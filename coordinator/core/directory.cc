#include "coordinator/core/directory.h"

#include <cassert>
#include <utility>

namespace kdn::coordinator {
namespace {

constexpr std::uint32_t kSlotsPerShardMin = 256;
constexpr std::size_t kModelsMax = 1U << 16;

}  // namespace

Directory::Directory(std::uint64_t hash_seed) : hash_seed_(hash_seed | 1U) {
  for (Shard& shard : shards_) {
    shard.slots = HugeArray<Slot>(kSlotsPerShardMin);
    shard.mask = kSlotsPerShardMin - 1;
  }
}

bool Directory::IsUsed(const Record& record) {
  return std::ranges::any_of(record.replicas,
                             [](const Replica& replica) { return Number(replica.node) != 0; });
}

// --- The table: linear probing, deletion by shifting back, so that there are no tombstones. ---

std::uint32_t Directory::HeadOf(TenantId tenant, const ChunkKey& key) const {
  const std::uint32_t tag = TagOf(tenant, key);
  return ShardOf(tag).slots[SlotOf(tag, tenant, key)].record;
}

void Directory::PrefetchRecord(std::uint32_t tag) const {
  const Shard& shard = ShardOf(tag);
  // Another key's slot may lie where this one belongs: then its own is next to it.
  std::size_t slot = tag & shard.mask;
  while (shard.slots[slot].record != 0 && shard.slots[slot].tag != tag) {
    slot = (slot + 1) & shard.mask;
  }
  const std::uint32_t record = shard.slots[slot].record;
  if (record == 0) return;
  const auto* at = reinterpret_cast<const std::byte*>(&At(record));
  __builtin_prefetch(at);
  __builtin_prefetch(at + 64);
}

// Moves slots without looking at records: a tag holds all the bits that a shard of up to 2^29 slots
// needs. Both tables are gone through in order.
void Directory::Grow(Shard& shard) {
  HugeArray<Slot> old(shard.slots.size() * 2);
  old.swap(shard.slots);
  shard.mask = static_cast<std::uint32_t>(shard.slots.size() - 1);
  for (std::size_t i = 0; i < old.size(); ++i) {
    const Slot& moved = old[i];
    if (moved.record == 0) continue;
    std::size_t slot = moved.tag & shard.mask;
    while (shard.slots[slot].record != 0) slot = (slot + 1) & shard.mask;
    shard.slots[slot] = moved;
  }
}

void Directory::EraseSlot(Shard& shard, std::size_t slot) {
  std::size_t hole = slot;
  for (std::size_t at = (hole + 1) & shard.mask; shard.slots[at].record != 0;
       at = (at + 1) & shard.mask) {
    const std::size_t home = shard.slots[at].tag & shard.mask;
    // An entry may move back to the hole unless its home lies behind it.
    if (((at - home) & shard.mask) >= ((at - hole) & shard.mask)) {
      shard.slots[hole] = shard.slots[at];
      hole = at;
    }
  }
  shard.slots[hole] = Slot{};
  --shard.used;
}

// --- Records ---

std::uint32_t Directory::NewRecord(const wire::InventoryEntry& entry) {
  std::uint32_t number = free_list_;
  if (number != 0) {
    free_list_ = At(number).next;
  } else {
    number = record_count_++;
    if (number / kRecordsPerSlab >= records_.size()) {
      records_.emplace_back(kRecordsPerSlab);
      rests_.emplace_back(kRecordsPerSlab);
    }
  }
  Record& record = At(number);
  record = Record{};
  record.key = entry.key;
  record.put_id = entry.put_id;
  record.tenant = entry.tenant;
  record.provenance = entry.provenance;
  record.shape = entry.shape;
  record.token_count = entry.token_count;
  record.level_bytes = entry.level_bytes;
  record.model = ModelIndex(entry.model);
  RestOf(number) = {.parent = entry.parent, .match_hash = entry.match_hash};
  ++object_count_;
  const std::uint32_t tag = TagOf(entry.tenant, entry.key);
  Shard& shard = ShardOf(tag);
  if ((shard.used + 1) * 4 > shard.slots.size() * 3) Grow(shard);
  Slot& slot = shard.slots[SlotOf(tag, entry.tenant, entry.key)];
  if (slot.record == 0) {
    ++shard.used;
    ++chunk_count_;
  }
  record.next = slot.record;
  slot = {number, tag};
  return number;
}

void Directory::Unlink(std::uint32_t number) {
  Record& record = At(number);
  const std::uint32_t tag = TagOf(record.tenant, record.key);
  Shard& shard = ShardOf(tag);
  const std::size_t slot = SlotOf(tag, record.tenant, record.key);
  if (shard.slots[slot].record == number) {
    shard.slots[slot].record = record.next;
    if (record.next == 0) {
      EraseSlot(shard, slot);
      --chunk_count_;
    }
  } else {
    std::uint32_t before = shard.slots[slot].record;
    while (At(before).next != number) before = At(before).next;
    At(before).next = record.next;
  }
  record.replicas = {};
  record.next = free_list_;
  free_list_ = number;
  --object_count_;
}

std::uint32_t Directory::ModelIndex(const ModelFingerprint& model) {
  const auto known = model_index_.find(model);
  if (known != model_index_.end()) return known->second;
  if (models_.empty()) models_.emplace_back();  // 0: more models than are told apart
  if (models_.size() >= kModelsMax) return 0;
  const auto number = static_cast<std::uint32_t>(models_.size());
  models_.push_back(model);
  model_index_.emplace(model, number);
  return number;
}

// --- Which replicas count ---

Directory::NodeView& Directory::ViewOf(NodeId node) {
  if (nodes_.size() <= Number(node)) nodes_.resize(std::size_t{Number(node)} + 1);
  return nodes_[Number(node)];
}

bool Directory::IsCurrent(const Replica& replica) const {
  if (Number(replica.node) == 0 || Number(replica.node) >= nodes_.size()) return false;
  const NodeView& view = nodes_[Number(replica.node)];
  const auto age = static_cast<std::uint16_t>(view.incoming - replica.report);
  return age <= static_cast<std::uint16_t>(view.incoming - view.current);
}

bool Directory::Counts(const Replica& replica) const {
  return IsCurrent(replica) && nodes_[Number(replica.node)].alive;
}

std::uint16_t Directory::NextReport(NodeId node) {
  const auto next = static_cast<std::uint16_t>(ViewOf(node).last + 1);
  // Before numbers come round again, what is left of their first use has to go.
  if (next == 0) Sweep(record_count_);
  ViewOf(node).last = next;
  return next;
}

void Directory::SetAlive(NodeId node, bool alive) {
  ViewOf(node).alive = alive;
}

void Directory::ExpectReport(NodeId node) {
  const std::uint16_t next = NextReport(node);
  ViewOf(node).incoming = next;
}

void Directory::EndReport(NodeId node) {
  const std::uint16_t next = NextReport(node);
  ViewOf(node).current = ViewOf(node).incoming;
  ViewOf(node).incoming = next;
}

void Directory::Forget(NodeId node) {
  const std::uint16_t next = NextReport(node);
  ViewOf(node).incoming = next;
  ViewOf(node).current = next;
}

// --- Changes ---

void Directory::Apply(NodeId node, const wire::InventoryEntry& entry, Source source) {
  if (Number(node) == 0) return;
  if ((entry.in_dram | entry.on_disk).empty()) {
    Remove(node, {entry.tenant, entry.key, entry.shape.number, entry.put_id});
  } else {
    Store(node, entry, source);
  }
}

void Directory::Remove(NodeId node, const wire::ObjectName& object) {
  std::uint32_t number = HeadOf(object.tenant, object.key);
  while (number != 0) {
    Record& record = At(number);
    const std::uint32_t next = record.next;
    if (record.put_id == object.put_id && record.shape.number == object.part) {
      bool any = false;
      for (Replica& replica : record.replicas) {
        if (replica.node == node) ClearReplica(number, replica);
        any = any || Number(replica.node) != 0;
      }
      if (!any) Unlink(number);
    }
    number = next;
  }
}

void Directory::Store(NodeId node, const wire::InventoryEntry& entry, Source source) {
  std::uint32_t number = 0;
  Replica* replica = PlaceFor(node, entry, number);
  if (replica == nullptr) {
    number = NewRecord(entry);
    replica = &At(number).replicas[0];
  }
  Record& record = At(number);
  // A commit knows less of a chunk than the node that has it.
  if (entry.match_hash != MatchHash{}) RestOf(number).match_hash = entry.match_hash;
  const LevelSet before = replica->in_dram | replica->on_disk;
  const bool counted = Number(replica->node) != 0;
  replica->node = node;
  const NodeView& view = ViewOf(node);
  replica->report = source == Source::kChange ? view.current : view.incoming;
  replica->in_dram = entry.in_dram;
  replica->on_disk = entry.on_disk;
  if (!counted) {
    ++location_count_;
    for (const std::uint32_t bytes : record.level_bytes) bytes_stored_ += bytes;
  }
  if (!counted || before != (entry.in_dram | entry.on_disk)) Note(true, number, *replica);
}

// Where the replica is kept already, or else a free place in a record of this part.
Directory::Replica* Directory::PlaceFor(NodeId node, const wire::InventoryEntry& entry,
                                        std::uint32_t& place) {
  Replica* free = nullptr;
  for (std::uint32_t number = HeadOf(entry.tenant, entry.key); number != 0;
       number = At(number).next) {
    Record& record = At(number);
    if (record.put_id != entry.put_id || record.shape.number != entry.shape.number) continue;
    for (Replica& replica : record.replicas) {
      if (replica.node == node) {
        place = number;
        return &replica;
      }
      if (free == nullptr && Number(replica.node) == 0) {
        free = &replica;
        place = number;
      }
    }
  }
  return free;
}

void Directory::ClearReplica(std::uint32_t record, Replica& replica) {
  Note(false, record, replica);
  --location_count_;
  for (const std::uint32_t bytes : At(record).level_bytes) bytes_stored_ -= bytes;
  replica = Replica{};
}

void Directory::Sweep(std::uint32_t records) {
  for (; records > 0 && record_count_ > 1; --records) {
    if (sweep_at_ >= record_count_) sweep_at_ = 1;
    const auto number = static_cast<std::uint32_t>(sweep_at_++);
    Record& record = At(number);
    if (!IsUsed(record)) continue;
    bool any = false;
    for (Replica& replica : record.replicas) {
      if (Number(replica.node) != 0 && !IsCurrent(replica)) ClearReplica(number, replica);
      any = any || Number(replica.node) != 0;
    }
    if (!any) Unlink(number);
  }
}

void Directory::WatchChanges(bool watched) {
  watched_ = watched;
  if (!watched) changes_.clear();
}

std::vector<DirectoryChange> Directory::TakeChanges() {
  return std::exchange(changes_, {});
}

void Directory::Note(bool stored, std::uint32_t number, const Replica& replica) {
  if (!watched_) return;
  const Record& record = At(number);
  changes_.push_back({.stored = stored,
                      .tenant = record.tenant,
                      .key = record.key,
                      .parent = RestOf(number).parent,
                      .model = models_[record.model],
                      .token_count = record.token_count,
                      .node = replica.node,
                      .levels = replica.in_dram | replica.on_disk});
}

DirectorySize Directory::size() const {
  std::uint64_t memory_bytes = records_.size() * kRecordsPerSlab * (sizeof(Record) + sizeof(Rest));
  for (const Shard& shard : shards_) memory_bytes += shard.slots.size() * sizeof(Slot);
  return {.chunks = chunk_count_,
          .objects = object_count_,
          .locations = location_count_,
          .bytes_stored = bytes_stored_,
          .memory_bytes = memory_bytes};
}

}  // namespace kdn::coordinator
