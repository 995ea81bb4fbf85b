#include "coordinator/core/directory.h"

#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

namespace kdn::coordinator {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::size_t kIndexSlotsMin = 1024;
constexpr std::size_t kModelsMax = 1U << 16;

// The two halves of a 128-bit product, folded: the step of wyhash.
std::uint64_t Folded(std::uint64_t a, std::uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t WordAt(const ChunkKey& key, std::size_t index) {
  std::uint64_t word = 0;
  std::memcpy(&word, key.bytes.data() + index * sizeof(word), sizeof(word));
  return word;
}

std::uint32_t Number(NodeId node) {
  return static_cast<std::uint32_t>(node);
}

// How good the best level of a set is; -1 if it is empty. Levels present are a prefix of those
// encoded, or `exact` alone: so the finest says all.
int Finest(LevelSet levels) {
  return std::bit_width(levels.bits()) - 1;
}

// Which of two replicas a reader should ask first.
bool IsBetter(const wire::ReplicaLocation& a, const wire::ReplicaLocation& b) {
  if (Finest(a.in_dram) != Finest(b.in_dram)) return Finest(a.in_dram) > Finest(b.in_dram);
  return Finest(a.on_disk) > Finest(b.on_disk);
}

}  // namespace

Directory::Directory(std::uint64_t hash_seed)
    : hash_seed_(hash_seed | 1U), index_(kIndexSlotsMin), index_mask_(kIndexSlotsMin - 1) {}

Directory::Record& Directory::At(std::uint32_t record) {
  return slabs_[record / kRecordsPerSlab][record % kRecordsPerSlab];
}

const Directory::Record& Directory::At(std::uint32_t record) const {
  return slabs_[record / kRecordsPerSlab][record % kRecordsPerSlab];
}

// --- The table: linear probing, deletion by shifting back, so that there are no tombstones. ---

std::uint32_t Directory::TagOf(TenantId tenant, const ChunkKey& key) const {
  std::uint64_t hash = Folded(WordAt(key, 0) ^ hash_seed_,
                              WordAt(key, 1) ^ (static_cast<std::uint64_t>(tenant) + hash_seed_));
  hash = Folded(WordAt(key, 2) ^ hash, WordAt(key, 3) ^ (hash_seed_ * 0x9E3779B97F4A7C15ULL));
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

std::size_t Directory::SlotOf(std::uint32_t tag, TenantId tenant, const ChunkKey& key) const {
  std::size_t slot = tag & index_mask_;
  while (index_[slot].record != 0) {
    if (index_[slot].tag == tag) {
      const Record& record = At(index_[slot].record);
      if (record.key == key && record.tenant == tenant) return slot;
    }
    slot = (slot + 1) & index_mask_;
  }
  return slot;  // empty: where the key would go
}

std::uint32_t Directory::HeadOf(TenantId tenant, const ChunkKey& key) const {
  return index_[SlotOf(TagOf(tenant, key), tenant, key)].record;
}

void Directory::PrefetchRecord(std::uint32_t tag) const {
  const std::uint32_t record = index_[tag & index_mask_].record;
  if (record == 0) return;
  const auto* at = reinterpret_cast<const std::byte*>(&At(record));
  __builtin_prefetch(at);
  __builtin_prefetch(at + 64);
}

// Moves slots without looking at records: a tag holds all the bits that an index of up to 2^32
// slots needs.
void Directory::GrowIndex() {
  std::vector<Slot> old(index_.size() * 2);
  old.swap(index_);
  index_mask_ = static_cast<std::uint32_t>(index_.size() - 1);
  for (const Slot& moved : old) {
    if (moved.record == 0) continue;
    std::size_t slot = moved.tag & index_mask_;
    while (index_[slot].record != 0) slot = (slot + 1) & index_mask_;
    index_[slot] = moved;
  }
}

void Directory::EraseSlot(std::size_t slot) {
  std::size_t hole = slot;
  for (std::size_t at = (hole + 1) & index_mask_; index_[at].record != 0;
       at = (at + 1) & index_mask_) {
    const std::size_t home = index_[at].tag & index_mask_;
    // An entry may move back to the hole unless its home lies behind it.
    if (((at - home) & index_mask_) >= ((at - hole) & index_mask_)) {
      index_[hole] = index_[at];
      hole = at;
    }
  }
  index_[hole] = Slot{};
  --chunk_count_;
}

// --- Records ---

std::uint32_t Directory::NewRecord(const wire::InventoryEntry& entry) {
  std::uint32_t number = free_list_;
  if (number != 0) {
    free_list_ = At(number).next;
  } else {
    number = record_count_++;
    if (number / kRecordsPerSlab >= slabs_.size()) {
      slabs_.push_back(std::make_unique<Record[]>(kRecordsPerSlab));
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
  record.match_hash = entry.match_hash;
  record.parent = entry.parent;
  record.chain_root_short = IdHash{}(entry.chain_root);
  record.model = ModelIndex(entry.model);
  record.used = true;
  ++object_count_;
  if ((chunk_count_ + 1) * 4 > index_.size() * 3) GrowIndex();
  const std::uint32_t tag = TagOf(entry.tenant, entry.key);
  Slot& slot = index_[SlotOf(tag, entry.tenant, entry.key)];
  if (slot.record == 0) ++chunk_count_;
  record.next = slot.record;
  slot = {number, tag};
  return number;
}

void Directory::Unlink(std::uint32_t number) {
  Record& record = At(number);
  const std::size_t slot = SlotOf(TagOf(record.tenant, record.key), record.tenant, record.key);
  if (index_[slot].record == number) {
    index_[slot].record = record.next;
    if (record.next == 0) EraseSlot(slot);
  } else {
    std::uint32_t before = index_[slot].record;
    while (At(before).next != number) before = At(before).next;
    At(before).next = record.next;
  }
  record.used = false;
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
        if (replica.node == node) ClearReplica(record, replica);
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
  if (record.match_hash == MatchHash{}) record.match_hash = entry.match_hash;
  if (record.chain_root_short == 0) record.chain_root_short = IdHash{}(entry.chain_root);
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
  if (!counted || before != (entry.in_dram | entry.on_disk)) Note(true, record, *replica);
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

void Directory::ClearReplica(Record& record, Replica& replica) {
  Note(false, record, replica);
  --location_count_;
  for (const std::uint32_t bytes : record.level_bytes) bytes_stored_ -= bytes;
  replica = Replica{};
}

void Directory::Sweep(std::uint32_t records) {
  for (; records > 0 && record_count_ > 1; --records) {
    if (sweep_at_ >= record_count_) sweep_at_ = 1;
    const auto number = static_cast<std::uint32_t>(sweep_at_++);
    Record& record = At(number);
    if (!record.used) continue;
    bool any = false;
    for (Replica& replica : record.replicas) {
      if (Number(replica.node) != 0 && !IsCurrent(replica)) ClearReplica(record, replica);
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

void Directory::Note(bool stored, const Record& record, const Replica& replica) {
  if (!watched_) return;
  changes_.push_back({.stored = stored,
                      .tenant = record.tenant,
                      .key = record.key,
                      .parent = record.parent,
                      .model = models_[record.model],
                      .token_count = record.token_count,
                      .node = replica.node,
                      .levels = replica.in_dram | replica.on_disk});
}

DirectorySize Directory::size() const {
  return {.chunks = chunk_count_,
          .objects = object_count_,
          .locations = location_count_,
          .bytes_stored = bytes_stored_,
          .memory_bytes =
              index_.size() * sizeof(Slot) + slabs_.size() * kRecordsPerSlab * sizeof(Record)};
}

// --- Reading ---

bool Directory::FillPart(const Record& record, Level level_min, wire::PartLocation& out) const {
  const auto by_key = static_cast<std::size_t>(record.key.bytes[8]);
  bool any = false;
  for (std::size_t i = 0; i < record.replicas.size(); ++i) {
    // Equally good replicas are named in an order that depends on the key, so that readers of a
    // context spread over them.
    const Replica& replica = record.replicas[(i + by_key) % record.replicas.size()];
    if (!Counts(replica)) continue;
    if (Finest(replica.in_dram | replica.on_disk) < static_cast<int>(level_min)) continue;
    if (out.replicas.full()) break;
    out.replicas.push_back({replica.node, replica.in_dram, replica.on_disk});
    for (std::size_t at = out.replicas.size() - 1; at > 0; --at) {
      if (!IsBetter(out.replicas[at], out.replicas[at - 1])) break;
      std::swap(out.replicas[at], out.replicas[at - 1]);
    }
    any = true;
  }
  if (any) {
    out.shape = record.shape;
    out.level_bytes = record.level_bytes;
  }
  return any;
}

// Gathers all parts of one put. False, and `out` in any state, if one is missing.
bool Directory::Assemble(std::uint32_t head, const PutId& put_id, Level level_min,
                         wire::ChunkLocation& out) const {
  std::size_t present = 0;
  bool begun = false;
  for (std::uint32_t number = head; number != 0; number = At(number).next) {
    const Record& record = At(number);
    if (record.put_id != put_id) continue;
    if (!begun) {
      begun = true;
      out.put_id = put_id;
      out.token_count = record.token_count;
      out.parts.resize(record.shape.count);
      for (wire::PartLocation& part : out.parts) part.replicas.clear();
    }
    if (record.shape.number >= out.parts.size()) continue;
    wire::PartLocation& part = out.parts[record.shape.number];
    const bool seen = !part.replicas.empty();
    if (FillPart(record, level_min, part) && !seen) ++present;
  }
  return begun && present == out.parts.size();
}

bool Directory::FindAt(std::uint32_t head, const LookupFilter& filter,
                       wire::ChunkLocation& out) const {
  if (const Record& only = At(head); only.next == 0) {
    out.provenance = only.provenance;
    return only.provenance.kind >= filter.floor &&
           Assemble(head, only.put_id, filter.level_min, out);
  }
  // The puts of one key are tried from the best down.
  std::optional<std::pair<std::uint32_t, PutId>> tried;
  while (true) {
    const Record* best = nullptr;
    std::pair<std::uint32_t, PutId> best_rank{};
    for (std::uint32_t number = head; number != 0; number = At(number).next) {
      const Record& record = At(number);
      if (record.provenance.kind < filter.floor) continue;
      const std::pair rank{ProvenanceRank(record.provenance), record.put_id};
      if (tried && !(rank < *tried)) continue;
      if (best != nullptr && !(best_rank < rank)) continue;
      best = &record;
      best_rank = rank;
      out.provenance = record.provenance;
    }
    if (best == nullptr) return false;
    if (Assemble(head, best->put_id, filter.level_min, out)) return true;
    tried = best_rank;
  }
}

bool Directory::FindTagged(std::uint32_t tag, const LookupFilter& filter, const ChunkKey& key,
                           wire::ChunkLocation& out) const {
  const std::uint32_t head = index_[SlotOf(tag, filter.tenant, key)].record;
  return head != 0 && FindAt(head, filter, out);
}

bool Directory::Find(const LookupFilter& filter, const ChunkKey& key,
                     wire::ChunkLocation& out) const {
  return FindTagged(TagOf(filter.tenant, key), filter, key, out);
}

bool Directory::IsComplete(TenantId tenant, const ChunkKey& key, const PutId& put_id) const {
  wire::ChunkLocation location;
  return Assemble(HeadOf(tenant, key), put_id, Level::kDraft, location);
}

void Directory::VisitRecord(const Record& record, const Visitor& visit) const {
  for (const Replica& replica : record.replicas) {
    if (!Counts(replica)) continue;
    visit({.name = {record.tenant, record.key, record.shape.number, record.put_id},
           .parent = record.parent,
           .model = models_[record.model],
           .provenance = record.provenance,
           .shape = record.shape,
           .token_count = record.token_count,
           .level_bytes = record.level_bytes,
           .at = {replica.node, replica.in_dram, replica.on_disk}});
  }
}

void Directory::Visit(TenantId tenant, const ChunkKey& key, const Visitor& visit) const {
  for (std::uint32_t number = HeadOf(tenant, key); number != 0; number = At(number).next) {
    VisitRecord(At(number), visit);
  }
}

std::uint64_t Directory::Scan(std::uint64_t cursor, std::uint32_t records,
                              const Visitor& visit) const {
  std::uint64_t at = std::max<std::uint64_t>(cursor, 1);
  for (; records > 0 && at < record_count_; --records, ++at) {
    const Record& record = At(static_cast<std::uint32_t>(at));
    if (record.used) VisitRecord(record, visit);
  }
  return at < record_count_ ? at : 0;
}

}  // namespace kdn::coordinator
