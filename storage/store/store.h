// The one implementation of ObjectStore. This header is its state; each file beside it is one
// concern: puts, commits, reads, loads from disk, eviction, keeping, and the shard's turn.
//
// Invariants between calls:
//   * An object on disk is in the table, or about to be deleted there, or in undeleted_; one that
//     is in neither tier is not in the table.
//   * A record is tracked by dram_policy_ while it has a copy in DRAM, by disk_policy_ while it is
//     on disk and not being evicted, and held in both while record.holds > 0.
//   * Bytes of a block that a read lends out or the disk works on are neither trimmed nor freed:
//     whoever uses them keeps the block, and only unshared blocks are trimmed.
//
// Thread-safety: owned by one shard.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/arena.h"
#include "storage/disk_jobs.h"
#include "storage/index_cache.h"
#include "storage/object_store.h"
#include "storage/object_table.h"
#include "storage/policy/eviction_policy.h"
#include "storage/put_table.h"

namespace kdn::storage {

class Store final : public ObjectStore {
 public:
  struct Parts {
    std::unique_ptr<Arena> arena;
    std::unique_ptr<EvictionPolicy> dram_policy;
    std::unique_ptr<EvictionPolicy> disk_policy;
  };
  Store(const StoreOptions& options, ShardOf shard, DiskTier* disk, const StoreEnvironment& env,
        Parts parts);

  // Makes visible what the disk holds of this shard. To be called once, first.
  Status Recover();

  MutableBytes memory() const override { return arena_->memory(); }

  Result<PutSlot> BeginPut(const ObjectId& id, std::uint64_t size_bytes,
                           TimePoint expires) override;
  Result<std::vector<MutableBytes>> PutMemory(PutSlot slot, std::uint64_t offset,
                                              std::size_t size_bytes) override;
  void PutArrived(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) override;
  Result<std::optional<ObjectDigest>> PutReceived(PutSlot slot, std::uint64_t offset,
                                                  std::size_t size_bytes) override;
  std::optional<ObjectDigest> PutDigest(PutSlot slot) const override;
  void PutFailed(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) override;
  void AbortPut(const ObjectId& id) override;
  void Commit(const ObjectId& id, const ObjectDigest& digest, std::uint64_t tag) override;

  std::optional<StoredObject> Find(TenantId tenant, const ChunkKey& key,
                                   std::uint16_t part) const override;
  Result<std::unique_ptr<ReadResult>> StartRead(const ReadRequest& request,
                                                std::uint64_t tag) override;
  void ReleaseRead(ReadSlot slot) override;

  Status Truncate(const ObjectId& id, LevelSet levels) override;
  Status Verify(const ObjectId& id) override;
  void Suspect(const ObjectId& id) override;
  void HoldWrites(bool hold) override { writes_held_ = hold; }

  std::size_t Poll(std::span<Completion> completions) override;
  int WaitFd() const override { return jobs_.fd(); }
  std::vector<StoredObject> Inventory() const override;
  std::vector<InventoryChange> TakeChanges(bool& overflowed) override;
  Usage usage() const override;
  Status Close() override;

 private:
  struct Metrics {
    explicit Metrics(MetricRegistry& registry, std::uint32_t shard);
    Gauge& objects;
    Gauge& dram_bytes;
    Gauge& dirty_bytes;
    Counter& dram_reads;
    Counter& disk_reads;
    Counter& dram_evictions;
    Counter& disk_evictions;
    Counter& corrupt;
    Counter& disk_errors;
    Counter& scrubbed_bytes;
    Counter& scrub_passes;
  };
  // Memory that a read lends out.
  struct Lease {
    std::uint32_t use = 0;  // how many reads this place has served: tells a late release
    bool open = false;
    ObjectSlot object{};
    std::uint64_t number = 0;
    std::array<BlockRef, kLevelCount> blocks;
  };
  // An object on its way to the disk: a put whose commit waits, or a dirty record.
  struct DiskWrite {
    ObjectId id;
    bool is_put = false;
    int attempts = 0;          // that other shards' writes left without room
    std::uint64_t number = 0;  // of a record
    ObjectSlot slot{};
  };
  // Everything the disk's threads need for one write; `kept` keeps the memory as it is.
  struct DiskImage {
    HeaderBytes header{};
    std::array<std::vector<ConstBytes>, kLevelCount> segments;
    LevelSet levels;
    std::size_t bytes = 0;
    std::vector<BlockRef> kept;
  };
  struct Load;
  struct Check;

  // puts.cc
  Status CheckWhole(Put& put);

  // commits.cc
  void Complete(std::uint64_t tag, Code code, LevelSet on_disk = {});
  void CompletePut(Put& put, Code code, LevelSet on_disk = {});
  // False if a visible object stays in its place; that object's levels on disk go to the tags.
  bool GivesWay(Put& put);
  Record& MakeVisible(Put& put, LevelSet on_disk);
  void PumpCommits();
  static std::array<LevelCopy, kLevelCount> CopiesOf(const Put& put);

  // writes.cc
  void QueueWrite(const DiskWrite& write);
  void PumpWrites();
  // False if it has to wait for room that is about to come free.
  bool StartWrite(const DiskWrite& write);
  [[nodiscard]] std::optional<DiskImage> ImageOf(const DiskWrite& write);
  enum class Room : std::uint8_t { kThere, kComing, kRefused };
  Room MakeRoomOnDisk(std::size_t bytes);
  void Written(DiskWrite write, std::size_t bytes, const Status& status);
  void PutWritten(const DiskWrite& write, const Status& status);
  void RecordWritten(const DiskWrite& write, const Status& status);
  void RetryWrites();

  // reads.cc
  Result<std::unique_ptr<ReadResult>> Serve(Record& record, const ReadRequest& request,
                                            LevelSet levels, bool from_disk);
  Result<IndexRef> IndexOf(const Record& record, Level level);
  ReadSlot OpenLease(Record& record, LevelSet levels);

  // loads.cc
  Status StartLoad(Record& record, LevelSet levels);
  void Loaded(Load& load);
  void Resume(WaitingRead read, Code failed);
  void CompleteRead(std::uint64_t tag, Result<std::unique_ptr<ReadResult>> result);

  // eviction.cc
  BlockRef MakeBlock(std::size_t size_bytes);
  void EvictCopies(Record& record);
  // Begins to give up cold objects until `bytes` are about to come free, or none is left to go.
  // False if none goes. An object that the disk does not delete stays as it was.
  bool EvictFromDisk(std::size_t bytes);
  void Evict(Record& record);
  void Evicted(ObjectSlot slot, std::uint64_t number, const Status& status);
  void Drop(Record& record);
  // Tried again until the disk does it.
  void DeleteOnDisk(const ObjectId& id, LevelSet levels);
  void StartDelete(const ObjectId& id, LevelSet levels, DiskJobs::Done done);
  void RetryDeletes();
  void Hold(Record& record, bool held);
  // What others need to be of use, profiles and model specs, is no victim: the policy is not told
  // of it. Up to a share of the shard's memory in each tier, so that nobody can fill it with them.
  // The bytes that are pinned by this; 0: it is a victim like any other.
  [[nodiscard]] std::size_t Pin(const Record& record, LevelSet levels, std::size_t& pinned) const;
  void TrackDram(Record& record);
  void UntrackDram(Record& record);
  void TrackDisk(Record& record);
  void UntrackDisk(Record& record);
  void TrimUnused(Record& record);
  void RemoveLevels(Record& record, LevelSet from_dram, LevelSet from_disk);

  // keeping.cc
  void DropBad(Record& record, LevelSet in_dram, LevelSet on_disk);
  void LogBad(const ObjectId& id, Level level, const Status& status);
  static Check CheckOf(const Record& record);
  Status ApplyCheck(Check& check);
  void LookAtSuspect();
  // Between the writes and deletes of this object, on a thread of the disk; `done` runs after what
  // was found bad has been dropped.
  void StartCheck(const Record& record, std::function<void()> done);
  void Scrub();
  void ScrubOne(const Record& record);

  // store.cc
  void Note(const Record& record);
  [[nodiscard]] std::uint64_t NowNs() const;

  const StoreOptions options_;
  const ShardOf shard_;
  DiskTier* const disk_;
  const StoreEnvironment env_;
  Metrics metrics_;
  const std::unique_ptr<Arena> arena_;  // outlives all blocks below
  const std::unique_ptr<EvictionPolicy> dram_policy_;
  const std::unique_ptr<EvictionPolicy> disk_policy_;
  ObjectTable objects_;
  PutTable puts_;
  IndexCache indices_;

  std::vector<Lease> leases_;
  std::vector<std::uint32_t> free_leases_;
  std::size_t reads_waiting_ = 0;

  std::deque<ObjectId> waiting_commits_;  // of kWriteBack, beyond dirty_bytes_max
  std::deque<DiskWrite> writes_;          // not started yet
  bool writes_held_ = false;
  std::deque<std::pair<TimePoint, DiskWrite>> retries_;  // of dirty objects, in order of time
  std::size_t writes_under_way_ = 0;
  std::size_t writing_bytes_ = 0;  // of those
  std::size_t deletes_under_way_ = 0;
  Status eviction_status_;  // of the last one; ok again once a write has been refused for it
  // What the disk failed to delete: one at a time is tried again, from retry_deletes_at_ on.
  std::unordered_map<ObjectId, LevelSet, ObjectIdHash> undeleted_;
  TimePoint retry_deletes_at_;
  std::size_t dirty_bytes_ = 0;
  std::size_t pinned_in_dram_ = 0;
  std::size_t pinned_on_disk_ = 0;
  std::size_t suspects_looked_at_ = 0;  // by the disk's threads
  std::deque<ObjectId> suspects_;       // to be looked at by the shard, for want of a disk
  ObjectSlot scrub_next_{};             // from which on the pass has still to look
  TimePoint scrub_from_{};              // when the rate allows the next
  std::size_t scrubs_under_way_ = 0;
  Status write_back_status_;  // of the last write that failed; ok again after one that did not
  bool closing_ = false;

  std::deque<Completion> completions_;
  std::deque<InventoryChange> changes_;
  bool changes_overflowed_ = false;
  DiskJobs jobs_;  // last: its destructor waits for work that uses the memory above
};

}  // namespace kdn::storage
