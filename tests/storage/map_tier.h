// The naive disk tier: a map. It is the specification that every disk tier is held to, and lets a
// test decide when posted work runs and which calls fail.
//
// Thread-safety: calls are safe; posted work runs on the caller's thread.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "storage/disk_tier.h"

namespace kdn::storage::test {

class MapTier final : public DiskTier {
 public:
  static constexpr std::uint64_t kUnbounded = std::numeric_limits<std::uint64_t>::max();

  explicit MapTier(std::uint64_t bytes_max = 0)
      : bytes_max_(bytes_max == 0 ? kUnbounded : bytes_max) {}

  Status Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) override;
  Status Read(const ObjectId& id, Level level, std::uint64_t offset,
              std::span<const MutableBytes> out) override;
  Status Delete(const ObjectId& id, LevelSet levels) override;
  Status Scan(const Visitor& visit) override;
  Status PutValue(std::string_view name, ConstBytes value) override;
  Result<std::vector<std::byte>> GetValue(std::string_view name) override;
  std::uint64_t bytes_used() const override;
  std::uint64_t bytes_max() const override { return bytes_max_; }
  bool crowded() const override { return false; }
  Status Reclaim() override { return {}; }
  bool Post(DiskWork kind, std::function<void()> work) override;
  Status ReleaseMemory() override { return {}; }
  Status Close() override;

  // Posted work runs at once, or not before RunPosted().
  void PostLater(bool later) { later_ = later; }
  void QueueDepth(std::size_t depth) { queue_depth_ = depth; }
  void RunPosted();
  // What Write() and Delete(), and what Read() answers from now on.
  void FailWrites(Status status) { write_status_ = std::move(status); }
  void FailReads(Status status) { read_status_ = std::move(status); }
  // Flips one bit of a stored segment.
  void Corrupt(const ObjectId& id, Level level, std::size_t offset);
  [[nodiscard]] LevelSet LevelsOf(const ObjectId& id) const;
  [[nodiscard]] std::size_t reads() const { return reads_; }

 private:
  using Key = std::tuple<TenantId, ChunkKey, std::uint16_t, PutId>;
  struct Object {
    ObjectId id;
    ObjectHeader header;
    std::map<Level, std::vector<std::byte>> segments;
  };
  static Key KeyOf(const ObjectId& id) { return {id.tenant, id.key, id.part, id.put_id}; }
  [[nodiscard]] std::uint64_t UsedLocked() const;

  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  std::map<Key, Object> objects_;                         // guarded by mutex_
  std::map<std::string, std::vector<std::byte>> values_;  // guarded by mutex_
  std::deque<std::function<void()>> posted_;
  bool later_ = false;
  std::size_t queue_depth_ = 1024;
  std::size_t reads_ = 0;
  Status write_status_;
  Status read_status_;
};

}  // namespace kdn::storage::test
