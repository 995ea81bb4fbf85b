// Decoded indices of segments that are read often, so that a read from DRAM decodes nothing. Gives
// up the one that was used longest ago.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "proto/object/levels.h"
#include "proto/object/segment.h"

namespace kdn::storage {

// Shared, since an entry that is in use by a read over several levels may be given up by the next
// level's insertion.
using IndexRef = std::shared_ptr<const SegmentIndex>;

class IndexCache {
 public:
  explicit IndexCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Null for a miss. `object` is a number that is never used for two objects.
  [[nodiscard]] IndexRef Find(std::uint64_t object, Level level);
  IndexRef Insert(std::uint64_t object, Level level, SegmentIndex index);
  void Erase(std::uint64_t object, Level level);

  [[nodiscard]] std::size_t bytes_used() const { return bytes_used_; }

 private:
  struct Entry {
    std::uint64_t key = 0;
    IndexRef index;
    std::size_t bytes = 0;
  };
  static std::uint64_t KeyOf(std::uint64_t object, Level level) {
    return object * kLevelCount + static_cast<std::uint64_t>(level);
  }
  void Drop(std::list<Entry>::iterator entry);

  std::size_t bytes_max_;
  std::size_t bytes_used_ = 0;
  std::list<Entry> used_;  // latest first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> entries_;
};

}  // namespace kdn::storage
