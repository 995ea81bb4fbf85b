// Which records there are, and which version of each was acknowledged last. Stored chunks never
// change: an update stores the record's next version under keys of its own, as an engine does whose
// text has changed, and reads ask for the new one from then on.
//
// Thread-safety: safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace kdn::bench {

class Keyspace {
 public:
  // `records` are there from the beginning, at version 0; `inserts_max` may be added.
  Keyspace(std::uint64_t records, std::uint64_t inserts_max);

  // Records that may be drawn: grows by one once an insert and all before it have ended.
  [[nodiscard]] std::uint64_t count() const { return visible_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint32_t VersionOf(std::uint64_t record) const;

  // A version that nobody has stored yet.
  [[nodiscard]] std::uint32_t NextVersion(std::uint64_t record);
  // From now on VersionOf() is `version`, unless a later one was acknowledged before.
  void Acknowledge(std::uint64_t record, std::uint32_t version);

  // The number of a record to be inserted; the last there may be, for ever, once all are taken.
  [[nodiscard]] std::uint64_t Insert();
  // An insert ended. If it failed, reads of the record are misses.
  void EndInsert(std::uint64_t record);

 private:
  struct Versions {
    std::atomic<std::uint32_t> acknowledged{0};
    std::atomic<std::uint32_t> given{0};
    std::atomic<bool> ended{false};
  };
  const std::uint64_t capacity_;
  const std::unique_ptr<Versions[]> versions_;
  std::atomic<std::uint64_t> visible_;
  std::atomic<std::uint64_t> next_;
  std::mutex mutex_;  // held while visible_ grows
};

}  // namespace kdn::bench
