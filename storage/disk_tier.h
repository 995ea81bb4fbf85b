// The disk tier's seam: segments by (object, level), headers and commit marks apart. storage/rocks
// implements it; tests/storage holds every implementation to one conformance suite.
//
// Calls block on the disk; they run on the tier's own threads, or on the caller's in tools.
//
// Thread-safety: safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/object/header.h"
#include "storage/object_store.h"

namespace kdn::storage {

// Which of the tier's threads: those that read do not wait behind writes, however slow these are.
enum class DiskWork : std::uint8_t { kRead, kChange };

class DiskTier {
 public:
  virtual ~DiskTier() = default;

  // Writes header, segments and commit mark in one batch: after a crash all of them are there or
  // none. An empty segment is not written, nor a level that is there already. kOutOfRange if it
  // would exceed bytes_max, kResourceExhausted if the disk is full, kUnavailable for any other
  // error of the disk: nothing is written then, and reads go on. The first Write() or Delete()
  // after the cause is gone succeeds again.
  using Segments = std::array<std::span<const ConstBytes>, kLevelCount>;
  virtual Status Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) = 0;

  // Fills `out`, one run after the other, with the bytes of one level's segment from `offset` on.
  // kNotFound if the level is not there, kDataLoss if it ends before `out` does.
  virtual Status Read(const ObjectId& id, Level level, std::uint64_t offset,
                      std::span<const MutableBytes> out) = 0;

  // Deletes levels; when none is left, header and commit mark too, in one batch. Deleting what is
  // not there is no error. A disk that takes no writes fails this too: all is there still, as are
  // the bytes used, until the caller tries again.
  virtual Status Delete(const ObjectId& id, LevelSet levels) = 0;

  // Calls `visit` for every committed object: its header, and the levels that are there. What is
  // damaged is left out and counted by kDataLoss after all others have been visited.
  using Visitor = std::function<void(const ObjectId&, const ObjectHeader&, LevelSet)>;
  virtual Status Scan(const Visitor& visit) = 0;

  // Small durable values beside the objects: the node's identity, the highest epoch it has obeyed.
  // Put() has been synced to the disk when it returns.
  virtual Status PutValue(std::string_view name, ConstBytes value) = 0;
  // kNotFound if there is none.
  virtual Result<std::vector<std::byte>> GetValue(std::string_view name) = 0;

  // Of headers and segments; and its bound, which may move with what the file system has left: see
  // DiskOptions.
  [[nodiscard]] virtual std::uint64_t bytes_used() const = 0;
  [[nodiscard]] virtual std::uint64_t bytes_max() const = 0;
  // Whether, when Write() last looked, others had filled the file system: less than a quarter is
  // free of what the tier leaves free. What is given up then makes no room soon; Write() looks
  // again and answers kResourceExhausted, or writes.
  [[nodiscard]] virtual bool crowded() const = 0;

  // Gives the file system back what deleted bytes take in it; DiskOptions says how much may stay.
  // The tier does so by itself after deletes, too. kUnavailable while the disk takes no writes,
  // kResourceExhausted if it has no room to move what is kept.
  virtual Status Reclaim() = 0;

  // Runs `work` on one of the tier's threads of that kind. False if their queue is full.
  virtual bool Post(DiskWork kind, std::function<void()> work) = 0;

  // Gives back memory that holds what is to be written, by writing it. Blocks on the disk.
  virtual Status ReleaseMemory() = 0;

  // Waits for posted work, syncs, lets go of the folder. Nothing else may be called after it.
  virtual Status Close() = 0;
};

struct DiskOptions {
  std::string folder;
  bool sync = true;  // every Write() reaches the disk before it returns; else only after a crash
                     // of the machine may the last ones be missing
  std::uint32_t threads = 2;        // that read, and as many that write
  std::uint32_t queue_depth = 256;  // of each
  // 0: bounded by the file system only. That one bounds every tier: the last 5 % of it, or 1 GiB if
  // that is less, are left free. Once they are touched, the bound falls by as much as each Write()
  // brings, as deleted bytes come free late, with what is written after them.
  std::uint64_t bytes_max = 0;
  // Deleted bytes are reclaimed this long after they were, at the latest, and as long after the
  // last time; 0: only when told to.
  std::chrono::milliseconds reclaim_every{0};
  // Of each level's bytes in files: what may stay deleted but unreclaimed. Less costs more
  // rewriting: at 0.2, at most four bytes for each that comes free. Where the file system is all
  // but full, nothing may.
  double garbage_share_max = 0.2;
};

// Makes the folder if there is none. kFailedPrecondition if it is open already, here or in another
// process, or was written by a newer version.
[[nodiscard]] Result<std::unique_ptr<DiskTier>> OpenRocksTier(const DiskOptions& options);

}  // namespace kdn::storage
