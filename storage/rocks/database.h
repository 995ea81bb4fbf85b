// A RocksDB database that survives a disk that fails for a while: opening it with our options and
// column families, closing it, and bringing it back to where it takes writes. Knows keys and values
// as bytes.
//
// Thread-safety: safe, but for Open() and Close(), which nothing else may overlap.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "proto/object/levels.h"
#include "storage/rocks/blob_place.h"

namespace kdn::storage::rocks {

[[nodiscard]] Status FromRocks(const rocksdb::Status& status);

// A column family: one per level, by the level's number, then these.
enum class Family : std::uint8_t { kObjects = kLevelCount, kDefault = kLevelCount + 1 };
inline constexpr std::size_t kFamilyCount = kLevelCount + 2;
[[nodiscard]] inline Family FamilyOf(Level level) {
  return static_cast<Family>(level);
}

// Syncs a log for several writers at once: while one sync runs, those whose write has ended since
// it began wait for the next one together, and others write on.
//
// Thread-safety: safe.
class GroupSync {
 public:
  // Returns what a `sync` that began after this call gave. All callers pass the same one.
  Status Sync(const std::function<Status()>& sync);

 private:
  struct Round {
    bool begun = false;
    bool ended = false;
    Status status;
  };
  std::mutex mutex_;
  std::condition_variable ended_;
  bool running_ = false;  // guarded by mutex_
  // Guarded by mutex_. Shared by those who wait for it, of whom the last may read it late.
  std::shared_ptr<Round> next_ = std::make_shared<Round>();
};

class Database {
 public:
  // `env` outlives the database.
  Database(std::string folder, rocksdb::Env* env);
  ~Database() { static_cast<void>(Close()); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Makes the folder if there is none. kFailedPrecondition if it is in use. On a disk without space
  // what is there can be read, and Write() tries again to open it for more.
  Status Open();
  // Opens what is there for reading alone; nothing in the folder changes. kFailedPrecondition if it
  // is in use.
  Status OpenToRead();
  // Moves what is only in the log into tables, and lets go of the folder. Does nothing the second
  // time.
  Status Close();

  // Calls `use` with the value, which may lie in RocksDB's own memory and is gone when `use`
  // returns: while it runs, the database is not closed to be opened anew. Values are read without
  // RocksDB's own checksums unless `verify`: ours are verified, eight times as fast.
  using Use = std::function<void(std::string_view value)>;
  Status Get(Family family, std::string_view key, const Use& use, bool verify = false);
  // As Get(), but of a value in a blob file only says where it lies; `use` is not called then.
  // `copy` is memory for values that are not, kept by the caller from one call to the next.
  Status Locate(Family family, std::string_view key, const Use& use, std::string& copy,
                std::optional<BlobPlace>& place);

  // What `fill` puts into the batch is written as one. After an error, first tries to make the
  // database take writes again; while the disk refuses them, that fails and nothing else happens.
  class Batch {
   public:
    Batch(rocksdb::WriteBatch& batch, std::span<rocksdb::ColumnFamilyHandle* const> families)
        : batch_(batch), families_(families) {}
    void Put(Family family, std::string_view key, std::string_view value);
    // The value is given in pieces.
    void Put(Family family, std::string_view key, std::span<const rocksdb::Slice> value);
    void Delete(Family family, std::string_view key);
    [[nodiscard]] const rocksdb::Status& status() const { return status_; }

   private:
    void Keep(const rocksdb::Status& status);
    rocksdb::WriteBatch& batch_;
    std::span<rocksdb::ColumnFamilyHandle* const> families_;
    rocksdb::Status status_;
  };
  Status Write(bool sync, const std::function<void(Batch&)>& fill);
  // After an error: makes the database take writes again, or says why not. What can be read then is
  // as durable as what Write() has answered for; before, it need not be.
  Status EnsureWritable();

  // Of the file system that the folder is on. All of it is free if that cannot be told.
  struct Space {
    std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t bytes_free = std::numeric_limits<std::uint64_t>::max();
  };
  [[nodiscard]] Space FileSystemSpace() const;

  // Compaction has met damaged values, which RocksDB never gets past: until they are deleted and
  // MendDone() is called there is none, and space does not come back. TakeMending() is true for one
  // caller only, who has to see to it.
  [[nodiscard]] bool to_mend() const { return to_mend_.load(); }
  bool TakeMending();
  void MendDone();

  // Gives the file system back what deleted values of a level's family take: all of the log, of
  // tables, of files in which nothing is left; others are rewritten, oldest first and as much at a
  // time as there is room for, until at most `garbage_share_max` of their bytes is garbage. Blocks.
  // kDataLoss for damaged values, which are to be mended next; kCancelled after CancelReclaim().
  Status Reclaim(Family family, double garbage_share_max);
  // Ends a Reclaim() that runs, for good: to be followed by Close().
  void CancelReclaim() { closing_ = true; }

  // Writes out what waits in memory.
  Status ReleaseMemory();

  // Every key of a family in order, those in damaged blocks left out; then kDataLoss. Unless
  // `verify`, values in blob files are given as they are.
  using Visitor = std::function<void(std::string_view key, std::string_view value)>;
  Status ForEach(Family family, const Visitor& visit, bool verify = true);

 private:
  Status LockFolder(int flags);
  Status OpenDatabase(bool compactions);
  Status OpenReader();
  // Of OpenDatabase() and OpenReader().
  using Opener =
      std::function<rocksdb::Status(const rocksdb::DBOptions&, const std::string& folder,
                                    const std::vector<rocksdb::ColumnFamilyDescriptor>&,
                                    std::vector<rocksdb::ColumnFamilyHandle*>*, rocksdb::DB**)>;
  Status OpenBy(const Opener& opener, bool reads_only, bool compactions);
  Status FlushTables();
  Status CompactAll(Family family, double rewritten_share);
  Status CloseDatabase();
  Status Probe();
  Status Recover();
  Status WriteOnce(bool sync, const std::function<void(Batch&)>& fill);
  [[nodiscard]] rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return families_[static_cast<std::size_t>(family)];
  }

  const std::string folder_;
  const std::unique_ptr<rocksdb::Env> env_;  // the caller's, with blobs that can be located
  int lock_fd_ = -1;
  std::atomic<bool> write_failed_{false};  // since the database last took a write

  std::atomic<bool> closing_{false};  // ends a Reclaim()

  std::atomic<bool> damaged_{false};  // a write failed for damage met in the background
  std::atomic<bool> to_mend_{false};

  GroupSync log_sync_;
  std::mutex recovering_;
  // Held shared by whoever uses what follows, alone while it is exchanged.
  std::shared_mutex open_;
  std::unique_ptr<rocksdb::DB> db_;  // null: it could not be opened again
  bool reads_only_ = false;          // db_ was opened for reading
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount> families_{};
};

}  // namespace kdn::storage::rocks
