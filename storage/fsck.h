// Checks a disk tier that no process has open: records, and every tile of every segment. For the
// tool kdn-fsck; a node that runs scrubs instead.
//
// Thread-safety: safe; one process at a time can have a tier open.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/object_store.h"

namespace kdn::storage {

struct FsckOptions {
  std::string folder;                                         // of the tier, as in DiskOptions
  bool repair = false;                                        // else nothing is changed
  std::function<void(std::uint64_t bytes_checked)> progress;  // may be empty
};

struct FsckReport {
  // A level whose bytes are missing, cut or wrong.
  struct BadLevel {
    ObjectId id;
    Level level = Level::kExact;
    std::string why;
  };
  std::uint32_t format = 0;
  std::uint64_t objects = 0;  // with an intact record
  std::uint64_t bytes = 0;    // of their segments
  std::vector<BadLevel> bad_levels;
  std::uint64_t bad_records = 0;    // objects that cannot be named any more
  std::uint64_t orphan_slices = 0;  // bytes that belong to no record: space that nobody frees
  std::uint64_t orphan_bytes = 0;
  // Index blocks that cannot be read: what they named is among the above, as missing.
  std::string damaged_tables;
  bool repaired = false;

  [[nodiscard]] bool Sound() const {
    return bad_levels.empty() && bad_records == 0 && orphan_slices == 0 && damaged_tables.empty();
  }
};

// With `repair`, deletes what is bad, of an object the finer levels with it, and what belongs to
// nothing, and reclaims the space. kNotFound if there is no tier; kFailedPrecondition if it is in
// use or was written by a newer version; kDataLoss if RocksDB cannot open it at all.
[[nodiscard]] Result<FsckReport> CheckDiskTier(const FsckOptions& options);

}  // namespace kdn::storage
