#include "node/inventory_outbox.h"

#include <algorithm>
#include <utility>

namespace kdn::node {
namespace {

std::vector<wire::InventoryEntry> TakeFront(std::deque<wire::InventoryEntry>& from,
                                            std::size_t count_max) {
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(std::min(count_max, from.size()));
  std::vector<wire::InventoryEntry> taken(from.begin(), end);
  from.erase(from.begin(), end);
  return taken;
}

}  // namespace

void InventoryOutbox::AddChanges(std::uint32_t shard, std::vector<wire::InventoryEntry> changes,
                                 bool overflowed) {
  if (changes.empty() && !overflowed) return;
  {
    const std::lock_guard lock(mutex_);
    auto& waiting = shards_[shard].changes;
    if (overflowed || waiting.size() + changes.size() > kChangesMax) {
      waiting.clear();
      overflowed_ = true;
    } else {
      waiting.insert(waiting.end(), changes.begin(), changes.end());
    }
  }
  changed_.notify_one();
}

void InventoryOutbox::SetSnapshot(std::uint32_t shard, std::vector<wire::InventoryEntry> entries) {
  {
    const std::lock_guard lock(mutex_);
    if (!gathering_) return;  // asked for by a report that was given up; the changes tell the rest
    shards_[shard].changes.clear();
    shards_[shard].snapshot = std::move(entries);
    if (!SnapshotsComplete()) return;
    gathering_ = false;
    sending_full_ = true;
    full_began_ = false;
    full_.clear();
    for (Shard& one : shards_) {
      full_.insert(full_.end(), one.snapshot->begin(), one.snapshot->end());
      one.snapshot.reset();
    }
  }
  changed_.notify_one();
}

void InventoryOutbox::SetUsage(std::uint32_t shard, const storage::ObjectStore::Usage& usage,
                               std::uint64_t corrupt_found) {
  const std::lock_guard lock(mutex_);
  shards_[shard].usage = usage;
  shards_[shard].corrupt_found = corrupt_found;
}

std::uint64_t InventoryOutbox::corrupt_found() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.corrupt_found;
  return sum;
}

bool InventoryOutbox::BeginFull() {
  const std::lock_guard lock(mutex_);
  if (reporting_) return false;
  reporting_ = true;
  gathering_ = true;
  sending_full_ = false;
  overflowed_ = false;
  full_.clear();
  for (Shard& shard : shards_) shard.snapshot.reset();
  return true;
}

bool InventoryOutbox::Overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

bool InventoryOutbox::SnapshotsComplete() const {
  return std::ranges::all_of(shards_,
                             [](const Shard& shard) { return shard.snapshot.has_value(); });
}

bool InventoryOutbox::HasBatch() const {
  if (gathering_) return false;
  return sending_full_ || overflowed_ ||
         std::ranges::any_of(shards_, [](const Shard& shard) { return !shard.changes.empty(); });
}

std::optional<InventoryOutbox::Batch> InventoryOutbox::Next() {
  std::unique_lock lock(mutex_);
  if (!gathering_ && !sending_full_) reporting_ = false;
  changed_.wait(lock, [this] { return closed_ || HasBatch(); });
  if (closed_) return std::nullopt;
  if (sending_full_) return TakeFull();
  if (overflowed_) return std::nullopt;
  return TakeChanges();
}

InventoryOutbox::Batch InventoryOutbox::TakeFull() {
  Batch batch{
      .full = true, .first = !full_began_, .entries = TakeFront(full_, kEntriesPerBatchMax)};
  full_began_ = true;
  batch.last = full_.empty();
  sending_full_ = !batch.last;
  return batch;
}

InventoryOutbox::Batch InventoryOutbox::TakeChanges() {
  Batch batch;
  for (Shard& shard : shards_) {
    const auto taken = TakeFront(shard.changes, kEntriesPerBatchMax - batch.entries.size());
    batch.entries.insert(batch.entries.end(), taken.begin(), taken.end());
  }
  return batch;
}

void InventoryOutbox::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

void InventoryOutbox::Reopen() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
  reporting_ = false;
  gathering_ = false;
  sending_full_ = false;
}

storage::ObjectStore::Usage InventoryOutbox::usage() const {
  const std::lock_guard lock(mutex_);
  storage::ObjectStore::Usage sum;
  for (const Shard& shard : shards_) {
    sum.dram_bytes_used += shard.usage.dram_bytes_used;
    sum.dram_bytes_total += shard.usage.dram_bytes_total;
    // The disk is shared by all shards; each reports all of it.
    sum.disk_bytes_used = std::max(sum.disk_bytes_used, shard.usage.disk_bytes_used);
    sum.dirty_bytes += shard.usage.dirty_bytes;
    sum.objects += shard.usage.objects;
    sum.puts_open += shard.usage.puts_open;
  }
  return sum;
}

}  // namespace kdn::node
