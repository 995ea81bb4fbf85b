// What one shard of a node, or an engine in embedded mode, keeps: objects in DRAM and on disk,
// readable by segment and tile, visible only after their commit.
//
// Two tiers behind one index: `dram`, an arena of 64 KiB pages in which an object's segments lie as
// runs of pages, and `disk`, shared by all shards of a process. DRAM holds copies of any levels; on
// disk the levels present are always a prefix of those encoded (or exact alone). Ranking what to
// give up is storage/policy's business; moving it is done here. Nothing here knows sockets,
// coordinators or what a tile's values mean.
//
// The store never blocks its shard: what needs the disk runs on the disk tier's own threads and is
// reported by Poll().
//
// Thread-safety: owned by one shard.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "proto/object/header.h"
#include "proto/object/object.h"
#include "proto/object/segment.h"

namespace kdn::storage {

class DiskTier;  // storage/disk_tier.h

// Names one stored object.
struct ObjectId {
  TenantId tenant{};
  ChunkKey key;
  std::uint16_t part = 0;
  PutId put_id;

  friend bool operator==(const ObjectId&, const ObjectId&) = default;
};

enum class WriteMode : std::uint8_t {
  kWriteThrough,  // a commit is acknowledged once the disk has the object
  kWriteBack,     // once DRAM has it; the disk follows, with bounded dirty bytes
  kDramOnly,      // no disk tier
};

struct StoreOptions {
  std::size_t dram_bytes = 0;  // of this shard's arena
  WriteMode write_mode = WriteMode::kWriteThrough;
  std::size_t dirty_bytes_max = 0;  // of kWriteBack: commits wait beyond it
  std::string policy = "leaf_lru";  // a name of storage/policy
  // How fast what is stored, in both tiers, is read and verified again and again in the background;
  // 0: it is not. What does not verify is dropped, as by Verify(), and is a change of the
  // inventory.
  std::uint64_t scrub_bytes_per_second = 0;
};

// An object as inventories and lookups see it.
struct StoredObject {
  ObjectHeader header;
  LevelSet in_dram;
  LevelSet on_disk;
};

// What has become visible, changed its levels or tiers, or gone (both sets empty), oldest first.
struct InventoryChange {
  StoredObject object;
};

enum class PutSlot : std::uint64_t {};
enum class ReadSlot : std::uint64_t {};

struct ReadRequest {
  ObjectId id;
  LevelSet levels;  // those wanted; what is not there is left out of the answer
  Range layers;     // tiles that intersect both ranges are read
  Range kv_heads;
};

// A read that is ready. The memory stays as it is until ReleaseRead(): a read lease.
struct ReadResult {
  ReadSlot slot{};
  ObjectHeader header;
  LevelSet levels;  // present in the answer, coarsest first
  // All tiles in the order in which they are to be sent: layer group by layer group, within one by
  // level, head group, plane. Entries are as in the index.
  std::vector<TileEntry> entries;
  std::vector<ConstBytes> runs;  // the tiles' bytes, one after the other; none crosses a group
  // One layer group: a view of its share of both vectors.
  struct Group {
    std::span<const TileEntry> entries;
    std::span<const ConstBytes> runs;
    std::size_t size_bytes = 0;
  };
  std::vector<Group> groups;
  std::size_t size_bytes = 0;  // of all groups
  bool from_disk = false;      // at least one segment had to be read from disk

  ReadResult() = default;
  ReadResult(const ReadResult&) = delete;  // groups point into the vectors
  ReadResult& operator=(const ReadResult&) = delete;
};

struct Completion {
  enum class Kind : std::uint8_t { kCommit, kRead };
  Kind kind = Kind::kRead;
  std::uint64_t tag = 0;
  Code code = Code::kOk;
  LevelSet on_disk;                  // of kCommit: what is durable now
  std::unique_ptr<ReadResult> read;  // of kRead with kOk
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // The arena, to be registered with a transport's domain.
  [[nodiscard]] virtual MutableBytes memory() const = 0;

  // -- Puts ----------------------------------------------------------------------------------
  // Takes room for an object of `size_bytes`, evicting as needed, until `expires`. The same id and
  // size again gives the same slot: several pieces of one object arrive on several connections.
  // kResourceExhausted if nothing more may be evicted; kAlreadyExists if this very put is visible
  // already; kInvalidArgument for a size beyond limits, or one that differs from the slot's.
  [[nodiscard]] virtual Result<PutSlot> BeginPut(const ObjectId& id, std::uint64_t size_bytes,
                                                 TimePoint expires) = 0;
  // Where bytes [offset, offset + size) of the object are to be received. Valid until
  // PutReceived() or PutFailed() for the same range; a put with memory handed out is not freed
  // before. kAlreadyExists if the object is whole and verified: PutDigest() has what to answer;
  // kNotFound for a put that has expired or been aborted; kOutOfRange.
  [[nodiscard]] virtual Result<std::vector<MutableBytes>> PutMemory(PutSlot slot,
                                                                    std::uint64_t offset,
                                                                    std::size_t size_bytes) = 0;
  // The first `size_bytes` of what was handed out at `offset` are there and will not change before
  // it is handed out again. Needs not be said, but what is said soon is checked while the caches
  // have it.
  virtual void PutArrived(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) = 0;
  // These bytes are there. Once all are and no memory is handed out, verifies the object (header
  // against id, indices, every tile) and returns its digest; nullopt before that. kDataLoss, and
  // the put is gone, if it does not verify. Bytes may arrive twice if they are the same.
  [[nodiscard]] virtual Result<std::optional<ObjectDigest>> PutReceived(PutSlot slot,
                                                                        std::uint64_t offset,
                                                                        std::size_t size_bytes) = 0;
  // The digest of a whole, verified put; nullopt before that or for an unknown slot.
  [[nodiscard]] virtual std::optional<ObjectDigest> PutDigest(PutSlot slot) const = 0;
  // These bytes will not come; their memory is no longer written. If they had come before, on
  // another connection, and all others have too, the object is verified: PutDigest() tells.
  virtual void PutFailed(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) = 0;
  // Frees the room once no memory is handed out. Unknown slots are ignored.
  virtual void AbortPut(const ObjectId& id) = 0;

  // Makes a whole, verified put visible. Reported by Poll() as kCommit under `tag`: kOk once it is
  // as durable as the write mode says; kNotFound if there is no such put or its digest differs;
  // kAlreadyExists, which is success, for a commit told twice and for an object that has to give
  // way: of two visible objects with one key and part, the one of better provenance stays, the
  // newer of equals. kResourceExhausted if the disk is full, or was too slow for the dirty bytes
  // until the put expired. On any other code the put stays open, and may be committed again, until
  // it expires.
  virtual void Commit(const ObjectId& id, const ObjectDigest& digest, std::uint64_t tag) = 0;

  // -- Reads ---------------------------------------------------------------------------------
  // The best visible object of this key and part; nullopt for a miss.
  [[nodiscard]] virtual std::optional<StoredObject> Find(TenantId tenant, const ChunkKey& key,
                                                         std::uint16_t part) const = 0;
  // Reported by Poll() as kRead under `tag`, or at once: returns the result if all of it lies in
  // DRAM, nullptr if Poll() will report it. kNotFound for a miss; kResourceExhausted if DRAM has
  // no room for what is on disk, kUnavailable if too much waits for the disk: come back later.
  [[nodiscard]] virtual Result<std::unique_ptr<ReadResult>> StartRead(const ReadRequest& request,
                                                                      std::uint64_t tag) = 0;
  virtual void ReleaseRead(ReadSlot slot) = 0;

  // -- Keeping -------------------------------------------------------------------------------
  // Deletes these levels in both tiers; what is left must be a prefix (kInvalidArgument). All
  // levels: drops it. Gone at once to readers; the disk follows.
  virtual Status Truncate(const ObjectId& id, LevelSet levels) = 0;
  // Reads every stored byte of an object again and checks it. kDataLoss, and what failed is
  // dropped. Blocks on the disk: for tools, not for shard threads under load.
  virtual Status Verify(const ObjectId& id) = 0;
  // An engine-side check found this object's bytes wrong: verify it soon and drop what fails.
  // Anyone may say so of a sound object, so it does nothing while a few others are looked at, or if
  // this one was within the last minute.
  virtual void Suspect(const ObjectId& id) = 0;

  // While held one object at a time is written to the disk, of those that commits wait for and of
  // dirty ones, so that the disk's buffers grow no faster than it takes them. Not held at first.
  virtual void HoldWrites(bool hold) = 0;

  // -- The shard's turn ----------------------------------------------------------------------
  // Moves finished work into `completions`, expires puts, writes back. Called when WaitFd() is
  // readable, and at least a few times a second: nothing wakes it for an expiry.
  virtual std::size_t Poll(std::span<Completion> completions) = 0;
  // Readable when Poll() has something to say.
  [[nodiscard]] virtual int WaitFd() const = 0;

  // All visible objects, and what has changed since the last call. Changes are bounded: when
  // `overflowed` comes true the caller takes the whole inventory again.
  [[nodiscard]] virtual std::vector<StoredObject> Inventory() const = 0;
  [[nodiscard]] virtual std::vector<InventoryChange> TakeChanges(bool& overflowed) = 0;

  struct Usage {
    std::size_t dram_bytes_used = 0;
    std::size_t dram_bytes_total = 0;
    std::size_t disk_bytes_used = 0;
    std::size_t dirty_bytes = 0;
    std::uint64_t objects = 0;
    std::uint64_t puts_open = 0;
  };
  [[nodiscard]] virtual Usage usage() const = 0;

  // Writes all dirty bytes and marks a clean stop. Blocks. Commits that still wait are reported as
  // kCancelled by a last Poll(); nothing else may be called after it.
  virtual Status Close() = 0;
};

// All outlive the store.
struct StoreEnvironment {
  const Clock& clock;
  Log& log;
  MetricRegistry& metrics;
};
// Which chunk keys are the store's: those that ShardOfKey() gives to `shard` out of `shard_count`.
struct ShardOf {
  std::uint32_t shard = 0;
  std::uint32_t shard_count = 1;
};

// Opens a shard's store over a disk tier that outlives it (null for kDramOnly), and makes what the
// disk holds of this shard visible again. Blocks. kInvalidArgument if `disk` does not fit the write
// mode or the shard's number is not below their count, kNotFound for a policy that this build does
// not have, else what the disk gave.
[[nodiscard]] Result<std::unique_ptr<ObjectStore>> OpenObjectStore(const StoreOptions& options,
                                                                   ShardOf shard, DiskTier* disk,
                                                                   const StoreEnvironment& env);

}  // namespace kdn::storage
