// What is asked of the directory: chains, chunks, replicas.
#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "coordinator/core/directory.h"

namespace kdn::coordinator {
namespace {

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

bool Directory::FillPart(const Record& record, Level level_min, wire::PartLocation& out) const {
  // Equally good replicas are named in an order that depends on the key, so that readers of a
  // context spread over them.
  std::size_t at_replica = static_cast<std::size_t>(record.key.bytes[8]) % limits::kReplicasMax;
  bool any = false;
  for (std::size_t i = 0; i < limits::kReplicasMax; ++i) {
    const Replica& replica = record.replicas[at_replica];
    at_replica = at_replica + 1 == limits::kReplicasMax ? 0 : at_replica + 1;
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
    if (only.provenance.kind < filter.floor || only.shape.count != 1) return false;
    out.put_id = only.put_id;
    out.provenance = only.provenance;
    out.token_count = only.token_count;
    out.parts.resize(1);
    out.parts.front().replicas.clear();
    return FillPart(only, filter.level_min, out.parts.front());
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
  const std::uint32_t head = ShardOf(tag).slots[SlotOf(tag, filter.tenant, key)].record;
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

void Directory::VisitRecord(std::uint32_t number, const Visitor& visit) const {
  const Record& record = At(number);
  for (const Replica& replica : record.replicas) {
    if (!Counts(replica)) continue;
    visit({.name = {record.tenant, record.key, record.shape.number, record.put_id},
           .parent = RestOf(number).parent,
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
    VisitRecord(number, visit);
  }
}

std::uint64_t Directory::Scan(std::uint64_t cursor, std::uint32_t records,
                              const Visitor& visit) const {
  std::uint64_t at = std::max<std::uint64_t>(cursor, 1);
  for (; records > 0 && at < record_count_; --records, ++at) {
    VisitRecord(static_cast<std::uint32_t>(at), visit);
  }
  return at < record_count_ ? at : 0;
}

}  // namespace kdn::coordinator
