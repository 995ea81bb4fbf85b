// Reads: which tiles, in which order, and the lease on their memory.
#include <algorithm>
#include <utility>

#include "storage/object_check.h"
#include "storage/store/store.h"

namespace kdn::storage {
namespace {

// Beyond these the disk is behind by seconds: whoever waits would rather recompute.
constexpr std::size_t kReadsWaitingMax = 1024;

// The tiles of one segment that a read wants, walked in the index's order.
struct Cursor {
  IndexRef index;
  const Block* block = nullptr;
  std::size_t tiles_offset = 0;  // of the segment's first tile in the block
  std::size_t next = 0;

  // Moves on to the next tile that is wanted.
  void Skip(const ReadRequest& request) {
    while (!AtEnd() && !(At().layers.Intersects(request.layers) &&
                         At().kv_heads.Intersects(request.kv_heads))) {
      ++next;
    }
  }
  [[nodiscard]] bool AtEnd() const { return next == index->tiles.size(); }
  [[nodiscard]] const TileCoordinates& At() const { return index->tiles[next].at; }
};

// Appends the cursor's tiles of one layer group, and returns their bytes. Tiles that follow one
// another in the segment become one run.
std::size_t TakeGroup(Cursor& cursor, const ReadRequest& request, const Range& layers,
                      std::size_t first_run, ReadResult& result) {
  std::size_t taken = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  const auto flush = [&] {
    cursor.block->Append(cursor.tiles_offset + begin, end - begin, result.runs, first_run);
    taken += end - begin;
  };
  for (; !cursor.AtEnd() && cursor.At().layers == layers; cursor.Skip(request)) {
    const TileEntry& entry = cursor.index->tiles[cursor.next++];
    if (entry.offset != end) {
      flush();
      begin = entry.offset;
    }
    end = std::size_t{entry.offset} + entry.size_bytes;
    result.entries.push_back(entry);
  }
  flush();
  return taken;
}

// Where a group's entries and runs begin, while the vectors may still move.
struct GroupBegin {
  std::size_t entry = 0;
  std::size_t run = 0;
};

void TakeTiles(std::span<Cursor> cursors, const ReadRequest& request, ReadResult& result) {
  std::size_t tile_count = 0;
  for (Cursor& cursor : cursors) {
    tile_count += cursor.index->tiles.size();
    cursor.Skip(request);
  }
  result.entries.reserve(tile_count);
  std::vector<GroupBegin> begins;
  while (true) {
    const Cursor* first = nullptr;
    for (const Cursor& cursor : cursors) {
      if (cursor.AtEnd()) continue;
      if (first == nullptr || cursor.At().layers.first < first->At().layers.first) first = &cursor;
    }
    begins.push_back({result.entries.size(), result.runs.size()});
    if (first == nullptr) break;
    const Range layers = first->At().layers;
    ReadResult::Group& group = result.groups.emplace_back();
    for (Cursor& cursor : cursors) {
      group.size_bytes += TakeGroup(cursor, request, layers, begins.back().run, result);
    }
    result.size_bytes += group.size_bytes;
  }
  for (std::size_t i = 0; i < result.groups.size(); ++i) {
    const auto [entry, run] = begins[i];
    result.groups[i].entries =
        std::span(result.entries).subspan(entry, begins[i + 1].entry - entry);
    result.groups[i].runs = std::span(result.runs).subspan(run, begins[i + 1].run - run);
  }
}

}  // namespace

std::optional<StoredObject> Store::Find(TenantId tenant, const ChunkKey& key,
                                        std::uint16_t part) const {
  const Record* const record = objects_.Find(ObjectName{tenant, key, part});
  if (record == nullptr) return std::nullopt;
  return record->Describe();
}

Result<std::unique_ptr<ReadResult>> Store::StartRead(const ReadRequest& request,
                                                     std::uint64_t tag) {
  Record* const record = objects_.Find(request.id);
  if (record == nullptr) return Error(Code::kNotFound);
  const LevelSet levels = request.levels & (record->in_dram() | record->on_disk);
  if (levels.empty()) return Error(Code::kNotFound);
  const std::uint64_t now_ns = NowNs();
  if (record->tracked_in_dram) dram_policy_->OnHit(record->slot, now_ns);
  if (record->tracked_on_disk) disk_policy_->OnHit(record->slot, now_ns);
  if ((levels & record->in_dram()) == levels) {
    metrics_.dram_reads.Add();
    return Serve(*record, request, levels, /*from_disk=*/false);
  }
  if (reads_waiting_ >= kReadsWaitingMax) {
    return Error(Code::kUnavailable, "too many reads wait for the disk");
  }
  if (!record->loading) {
    if (Status status = StartLoad(*record, levels); !status.ok()) {
      return std::unexpected(std::move(status));
    }
  }
  metrics_.disk_reads.Add();
  record->waiting.push_back({request, tag});
  ++reads_waiting_;
  return nullptr;
}

Result<IndexRef> Store::IndexOf(const Record& record, Level level) {
  if (IndexRef index = indices_.Find(record.number, level)) return index;
  const LevelCopy& copy = record.copies[static_cast<std::size_t>(level)];
  KDN_ASSIGN_OR_RETURN(SegmentIndex index, CheckSegment(record.header, level, *copy.block,
                                                        copy.offset, /*index_only=*/true));
  return indices_.Insert(record.number, level, std::move(index));
}

ReadSlot Store::OpenLease(Record& record, LevelSet levels) {
  if (free_leases_.empty()) {
    free_leases_.push_back(static_cast<std::uint32_t>(leases_.size()));
    leases_.emplace_back();
  }
  const std::uint32_t place = free_leases_.back();
  free_leases_.pop_back();
  Lease& lease = leases_[place];
  ++lease.use;
  lease.open = true;
  lease.object = record.slot;
  lease.number = record.number;
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<std::size_t>(info.level);
    if (levels.Has(info.level)) lease.blocks[number] = record.copies[number].block;
  }
  Hold(record, true);
  return ReadSlot{(std::uint64_t{lease.use} << 32) | place};
}

// Requires: all of `levels` are in DRAM.
Result<std::unique_ptr<ReadResult>> Store::Serve(Record& record, const ReadRequest& request,
                                                 LevelSet levels, bool from_disk) {
  std::array<Cursor, kLevelCount> cursors;
  std::size_t count = 0;
  for (const LevelInfo& info : Levels()) {
    if (!levels.Has(info.level)) continue;
    KDN_ASSIGN_OR_RETURN(IndexRef index, IndexOf(record, info.level));
    const LevelCopy& copy = record.copies[static_cast<std::size_t>(info.level)];
    const std::size_t tiles_offset = copy.offset + index->IndexBytes();
    cursors[count++] = {std::move(index), copy.block.get(), tiles_offset};
  }
  auto result = std::make_unique<ReadResult>();
  result->header = record.header;
  result->levels = levels;
  result->from_disk = from_disk;
  TakeTiles(std::span(cursors).first(count), request, *result);
  result->slot = OpenLease(record, levels);
  return result;
}

void Store::ReleaseRead(ReadSlot slot) {
  const auto place = static_cast<std::uint32_t>(static_cast<std::uint64_t>(slot));
  const auto use = static_cast<std::uint32_t>(static_cast<std::uint64_t>(slot) >> 32);
  if (place >= leases_.size()) return;
  Lease& lease = leases_[place];
  if (!lease.open || lease.use != use) return;
  lease.open = false;
  lease.blocks.fill(nullptr);
  free_leases_.push_back(place);
  if (Record* const record = objects_.Get(lease.object, lease.number)) {
    Hold(*record, false);
    TrimUnused(*record);
  }
}

}  // namespace kdn::storage
