// Giving up: which object goes is the policies' judgement, how it goes is done here.
#include <algorithm>
#include <utility>

#include "storage/disk_tier.h"
#include "storage/store/store.h"

namespace kdn::storage {
namespace {

constexpr Duration kDeleteRetry = std::chrono::seconds(1);
// Pinned objects take at most one part in so many, of the DRAM and of as much on disk.
constexpr std::size_t kPinnedShare = 16;

Candidate CandidateOf(const Record& record, LevelSet levels) {
  return {.slot = record.slot,
          .tenant = record.id.tenant,
          .key = record.id.key,
          .parent = record.header.parent,
          .part = record.id.part,
          .bytes = record.BytesIn(levels)};
}

}  // namespace

BlockRef Store::MakeBlock(std::size_t size_bytes) {
  while (true) {
    if (BlockRef block = Block::Make(*arena_, size_bytes, Runs::kLong)) return block;
    const std::optional<ObjectSlot> victim = dram_policy_->Victim();
    if (!victim) return Block::Make(*arena_, size_bytes, Runs::kAny);
    EvictCopies(objects_.At(*victim));
  }
}

void Store::EvictCopies(Record& record) {
  metrics_.dram_evictions.Add();
  if (record.on_disk.empty()) return Drop(record);
  UntrackDram(record);
  for (LevelCopy& copy : record.copies) copy = {};
  Note(record);
}

bool Store::EvictFromDisk(std::size_t bytes) {
  std::size_t freed = 0;
  while (freed < bytes) {
    const std::optional<ObjectSlot> victim = disk_policy_->Victim();
    if (!victim) break;
    Record& record = objects_.At(*victim);
    freed += kObjectHeaderBytes + record.BytesIn(record.on_disk);
    Evict(record);
  }
  return freed > 0;
}

// It stays until the disk has deleted it: a disk that takes no writes deletes nothing either, and
// would cost us one object after the other for room that never comes.
void Store::Evict(Record& record) {
  record.evicting = true;
  UntrackDisk(record);
  StartDelete(record.id, kAllLevels,
              [this, slot = record.slot, number = record.number](const Status& status) {
                Evicted(slot, number, status);
              });
}

void Store::Evicted(ObjectSlot slot, std::uint64_t number, const Status& status) {
  eviction_status_ = status;
  Record* const record = objects_.Get(slot, number);
  if (record == nullptr) return;  // dropped meanwhile, with a delete of its own
  record->evicting = false;
  if (!status.ok()) {
    if (!record->on_disk.empty()) TrackDisk(*record);
    return;
  }
  metrics_.disk_evictions.Add();
  // The DRAM copy goes too: it is the coldest of all, and kept alone it would outlive its prefix.
  record->on_disk = {};
  Drop(*record);
}

void Store::Drop(Record& record) {
  UntrackDram(record);
  UntrackDisk(record);
  dirty_bytes_ -= std::exchange(record.dirty_bytes, 0);
  if (!record.on_disk.empty() || !record.writing.empty()) DeleteOnDisk(record.id, kAllLevels);
  for (const LevelInfo& info : Levels()) {
    indices_.Erase(record.number, info.level);
    record.copies[static_cast<std::size_t>(info.level)] = {};
  }
  record.on_disk = {};
  Note(record);
  const std::vector<WaitingRead> waiting = std::exchange(record.waiting, {});
  objects_.Erase(record);
  for (const WaitingRead& read : waiting) {
    --reads_waiting_;
    CompleteRead(read.tag, Error(Code::kNotFound));
  }
}

void Store::DeleteOnDisk(const ObjectId& id, LevelSet levels) {
  StartDelete(id, levels, [this, id, levels](const Status& status) {
    if (status.ok()) return;
    LevelSet& left = undeleted_[id];
    left = left | levels;
    retry_deletes_at_ = env_.clock.Now() + kDeleteRetry;
  });
}

void Store::StartDelete(const ObjectId& id, LevelSet levels, DiskJobs::Done done) {
  ++deletes_under_way_;
  auto work = [disk = disk_, id, levels] { return disk->Delete(id, levels); };
  jobs_.Change(id, std::move(work), [this, id, done = std::move(done)](Status status) mutable {
    --deletes_under_way_;
    if (!status.ok()) {
      metrics_.disk_errors.Add();
      env_.log.Write(LogLevel::kWarning, "object not deleted on disk",
                     {{"key", ToHex(id.key)}, {"status", status.ToString()}});
    }
    done(std::move(status));
  });
}

void Store::RetryDeletes() {
  if (undeleted_.empty() || deletes_under_way_ > 0 || env_.clock.Now() < retry_deletes_at_) return;
  // The very put that was to go may be on its way to the disk again: not under its write.
  const auto next = std::find_if(undeleted_.begin(), undeleted_.end(), [&](const auto& entry) {
    return puts_.Find(entry.first) == nullptr;
  });
  if (next == undeleted_.end()) return;
  const auto [id, levels] = *next;
  undeleted_.erase(next);
  const Record* const again = objects_.Find(id);
  const LevelSet wanted = again == nullptr ? LevelSet() : again->on_disk | again->writing;
  if (!(levels - wanted).empty()) DeleteOnDisk(id, levels - wanted);
}

void Store::Hold(Record& record, bool held) {
  record.holds += held ? 1U : ~0U;
  if (record.holds != (held ? 1U : 0U)) return;
  if (record.tracked_in_dram) dram_policy_->Hold(record.slot, held);
  if (record.tracked_on_disk) disk_policy_->Hold(record.slot, held);
}

std::size_t Store::Pin(const Record& record, LevelSet levels, std::size_t& pinned) const {
  if (record.header.kind == ObjectKind::kChunk) return 0;
  const std::size_t bytes = kObjectHeaderBytes + record.BytesIn(levels);
  if (pinned + bytes > options_.dram_bytes / kPinnedShare) return 0;
  pinned += bytes;
  return bytes;
}

void Store::TrackDram(Record& record) {
  // What the disk has can be had again.
  if (record.on_disk.empty()) {
    record.pinned_in_dram = Pin(record, record.in_dram(), pinned_in_dram_);
    if (record.pinned_in_dram > 0) return;
  }
  dram_policy_->OnInsert(CandidateOf(record, record.in_dram()), NowNs());
  record.tracked_in_dram = true;
  if (record.holds > 0) dram_policy_->Hold(record.slot, true);
}

void Store::UntrackDram(Record& record) {
  pinned_in_dram_ -= std::exchange(record.pinned_in_dram, 0);
  if (std::exchange(record.tracked_in_dram, false)) dram_policy_->OnErase(record.slot);
}

void Store::TrackDisk(Record& record) {
  record.pinned_on_disk = Pin(record, record.on_disk, pinned_on_disk_);
  if (record.pinned_on_disk > 0) return;
  disk_policy_->OnInsert(CandidateOf(record, record.on_disk), NowNs());
  record.tracked_on_disk = true;
  if (record.holds > 0) disk_policy_->Hold(record.slot, true);
}

void Store::UntrackDisk(Record& record) {
  pinned_on_disk_ -= std::exchange(record.pinned_on_disk, 0);
  if (std::exchange(record.tracked_on_disk, false)) disk_policy_->OnErase(record.slot);
}

void Store::TrimUnused(Record& record) {
  for (const LevelCopy& copy : record.copies) {
    if (copy.block == nullptr) continue;
    std::size_t end = 0;
    long sharers = 0;
    for (std::size_t number = 0; number < kLevelCount; ++number) {
      const LevelCopy& other = record.copies[number];
      if (other.block != copy.block) continue;
      ++sharers;
      end = std::max(end, other.offset + record.header.level_bytes[number]);
    }
    // A read or a write that uses the rest keeps the block too: it is trimmed when that ends.
    if (copy.block.use_count() == sharers && end < copy.block->size()) copy.block->Trim(end);
  }
}

void Store::RemoveLevels(Record& record, LevelSet from_dram, LevelSet from_disk) {
  const bool on_disk = !((record.on_disk | record.writing) & from_disk).empty();
  for (const LevelInfo& info : Levels()) {
    if (from_disk.Has(info.level)) {
      record.on_disk.Remove(info.level);
      record.writing.Remove(info.level);
    }
    if (from_dram.Has(info.level)) {
      record.copies[static_cast<std::size_t>(info.level)] = {};
      indices_.Erase(record.number, info.level);
    }
  }
  if (on_disk) DeleteOnDisk(record.id, from_disk);
  if (record.in_dram().empty() && record.on_disk.empty()) return Drop(record);
  if (record.in_dram().empty()) UntrackDram(record);
  if (record.on_disk.empty()) UntrackDisk(record);
  TrimUnused(record);
  Note(record);
}

}  // namespace kdn::storage
