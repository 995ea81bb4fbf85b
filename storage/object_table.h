// The index of a shard: every visible object, found by tenant, key and part, with where each of
// its levels is.
//
// Thread-safety: owned by one shard.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/flat_index.h"
#include "proto/object/header.h"
#include "storage/block.h"
#include "storage/object_store.h"
#include "storage/policy/eviction_policy.h"

namespace kdn::storage {

// What can be visible once.
struct ObjectName {
  TenantId tenant{};
  ChunkKey key;
  std::uint16_t part = 0;

  friend bool operator==(const ObjectName&, const ObjectName&) = default;
};
[[nodiscard]] inline ObjectName NameOf(const ObjectId& id) {
  return {id.tenant, id.key, id.part};
}

// A level's copy in DRAM: where its segment begins in a block that it may share with other levels.
struct LevelCopy {
  BlockRef block;
  std::size_t offset = 0;
};

// A read that waits for segments from disk.
struct WaitingRead {
  ReadRequest request;
  std::uint64_t tag = 0;
};

// One visible object.
struct Record {
  ObjectSlot slot{};
  std::uint64_t number = 0;  // never used for two objects, and never 0
  ObjectId id;
  ObjectHeader header;
  LevelSet on_disk;
  std::array<LevelCopy, kLevelCount> copies;

  std::uint32_t holds = 0;       // reads, loads and writes that must not see it evicted
  bool tracked_in_dram = false;  // by the tier's eviction policy
  bool tracked_on_disk = false;
  std::size_t pinned_in_dram = 0;  // bytes that are kept from the policy (Store::Pin())
  std::size_t pinned_on_disk = 0;
  std::size_t dirty_bytes = 0;       // visible, and still to be written to disk
  LevelSet writing;                  // what of it that write, if it is under way, leaves on disk
  bool loading = false;              // from disk
  bool evicting = false;             // from disk: goes once it is deleted there
  TimePoint suspect_from;            // before it, no suspicion makes us look at it
  std::vector<WaitingRead> waiting;  // for the load

  [[nodiscard]] LevelSet in_dram() const;
  [[nodiscard]] std::size_t BytesIn(LevelSet levels) const;
  [[nodiscard]] StoredObject Describe() const { return {header, in_dram(), on_disk}; }
};

class ObjectTable {
 public:
  // Null for a miss. A record stays where it is until it is erased.
  [[nodiscard]] Record* Find(const ObjectName& name);
  [[nodiscard]] const Record* Find(const ObjectName& name) const;
  // As Find(), but only that very put.
  [[nodiscard]] Record* Find(const ObjectId& id);
  [[nodiscard]] Record& At(ObjectSlot slot);
  // The first at or behind this slot; null if there is none.
  [[nodiscard]] Record* NextFrom(ObjectSlot slot);
  // Null if the slot's object is not that number any more.
  [[nodiscard]] Record* Get(ObjectSlot slot, std::uint64_t number);

  // Requires: nothing of this name is there.
  Record& Insert(const ObjectId& id, const ObjectHeader& header);
  void Erase(Record& record);

  [[nodiscard]] std::size_t size() const { return index_.size(); }
  template <class Visit>
  void ForEach(Visit visit) const {
    for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
      if (const Record& record = RecordAt(slot); record.number != 0) visit(record);
    }
  }

 private:
  static constexpr std::uint32_t kRecordsPerSlab = 64;

  [[nodiscard]] static std::uint64_t HashOf(const ObjectName& name) {
    return IdHash()(name.key) + name.part * 0x9E3779B97F4A7C15U;
  }
  [[nodiscard]] Record& RecordAt(std::uint32_t slot) const {
    return slabs_[slot / kRecordsPerSlab][slot % kRecordsPerSlab];
  }
  [[nodiscard]] std::uint32_t SlotOf(const ObjectName& name) const;

  FlatIndex index_;                               // of slots, by name
  std::vector<std::unique_ptr<Record[]>> slabs_;  // by slot; number 0: free
  std::uint32_t slot_count_ = 0;                  // given out so far
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t next_number_ = 1;
};

}  // namespace kdn::storage
