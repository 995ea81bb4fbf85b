// What the shards have to report, on its way to the coordinator: usage, changes, and on demand all
// that they hold. Puts the shards' snapshots together into one full report, in which no change is
// lost and none is told before the report that it belongs after.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "proto/wire/inventory.h"
#include "storage/object_store.h"

namespace kdn::node {

class InventoryOutbox {
 public:
  static constexpr std::size_t kEntriesPerBatchMax = 4096;
  // Changes of one shard that wait; beyond it they are dropped and a full report is due.
  static constexpr std::size_t kChangesMax = 64 * 1024;

  explicit InventoryOutbox(std::uint32_t shard_count) : shards_(shard_count) {}

  // -- By the shards -------------------------------------------------------------------------
  // `overflowed`: some were lost before.
  void AddChanges(std::uint32_t shard, std::vector<wire::InventoryEntry> changes, bool overflowed);
  // All that the shard holds now; replaces what it has reported before. No effect if none is
  // awaited.
  void SetSnapshot(std::uint32_t shard, std::vector<wire::InventoryEntry> entries);
  void SetUsage(std::uint32_t shard, const storage::ObjectStore::Usage& usage,
                std::uint64_t corrupt_found);

  // -- By the reporter -----------------------------------------------------------------------
  struct Batch {
    bool full = false;
    bool first = false;
    bool last = false;
    std::vector<wire::InventoryEntry> entries;

    friend bool operator==(const Batch&, const Batch&) = default;
  };
  // A full report is to begin: nothing is given out until every shard has set its snapshot. False
  // if one has begun and Next() was not called since it gave out its last batch: reports never
  // overlap. Else the caller asks the shards for their snapshots.
  bool BeginFull();
  // Changes were lost since: BeginFull() is due.
  [[nodiscard]] bool Overflowed() const;
  // Waits until there is a batch; nullopt if changes were lost, or after Close().
  [[nodiscard]] std::optional<Batch> Next();
  void Close();
  // As at first; a report that was begun is given up.
  void Reopen();

  [[nodiscard]] storage::ObjectStore::Usage usage() const;  // of all shards
  [[nodiscard]] std::uint64_t corrupt_found() const;

 private:
  struct Shard {
    std::deque<wire::InventoryEntry> changes;
    std::optional<std::vector<wire::InventoryEntry>> snapshot;
    storage::ObjectStore::Usage usage;
    std::uint64_t corrupt_found = 0;
  };
  [[nodiscard]] bool SnapshotsComplete() const;  // requires mutex_
  [[nodiscard]] bool HasBatch() const;           // requires mutex_
  [[nodiscard]] Batch TakeFull();                // requires mutex_
  [[nodiscard]] Batch TakeChanges();             // requires mutex_

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Shard> shards_;  // guarded by mutex_, like all below
  bool reporting_ = false;     // from BeginFull() to the Next() after the last batch
  bool gathering_ = false;     // snapshots are awaited
  bool sending_full_ = false;
  bool full_began_ = false;                // its first batch was given out
  std::deque<wire::InventoryEntry> full_;  // what is left of the full report
  bool overflowed_ = false;
  bool closed_ = false;
};

}  // namespace kdn::node
