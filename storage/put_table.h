// Objects on their way in: room taken, bytes arriving in pieces and in any order, not visible yet.
// Keeps count of the memory that is handed out, so that none is freed, checked or shown while a
// transport may still write to it.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "proto/object/object.h"
#include "storage/arriving_sums.h"
#include "storage/block.h"
#include "storage/disk_jobs.h"
#include "storage/object_check.h"
#include "storage/object_store.h"

namespace kdn::storage {

struct Put {
  PutSlot slot{};
  ObjectId id;
  TimePoint expires{};
  BlockRef block;
  std::optional<CheckedObject> whole;  // once all is there and verified
  bool ended = false;                  // aborted, expired or wrong: waits for memory handed out
  std::vector<std::uint64_t> commits;  // tags that wait: it does not expire meanwhile

  struct Bytes {
    std::uint64_t offset = 0;
    std::size_t size_bytes = 0;
    std::size_t arrived = 0;  // of them, from the first one on, that are known to be there
    friend bool operator==(const Bytes& a, const Bytes& b) {
      return a.offset == b.offset && a.size_bytes == b.size_bytes;
    }
  };
  std::vector<Bytes> handed_out;
  std::map<std::uint64_t, std::uint64_t>
      received;  // begin to end, disjoint, joined where they meet

  // Sums of what has come, as long as nobody can write to it again.
  ArrivingSums sums;

  // Bytes [begin, end) are there, and their memory is back.
  void Receive(std::uint64_t begin, std::uint64_t end);
  // Bytes [begin, end) are about to be written.
  void HandOut(std::uint64_t begin, std::uint64_t end);
  // The first `size_bytes` of what was handed out at `begin` are there.
  void Arrive(std::uint64_t begin, std::size_t size_bytes);
  // All bytes are there and nobody writes to them.
  [[nodiscard]] bool Complete() const;
};

class PutTable {
 public:
  [[nodiscard]] Put* Find(const ObjectId& id);
  // Ended ones included; null for a slot that is not in use.
  [[nodiscard]] Put* At(PutSlot slot);
  [[nodiscard]] const Put* At(PutSlot slot) const;
  Put& Insert(const ObjectId& id, BlockRef block, TimePoint expires);
  void Extend(Put& put, TimePoint expires);

  // Not found by id from now on; freed at once, or with its last memory handed out.
  void End(Put& put);
  // Ends what has expired by `now`.
  void Expire(TimePoint now);
  // Takes note that memory is no longer written. False if it was not handed out.
  [[nodiscard]] static bool TakeBack(Put& put, const Put::Bytes& bytes);
  // Frees an ended put whose last memory came back.
  void Reap(Put& put);

  // Those not ended.
  [[nodiscard]] std::size_t open_count() const { return ids_.size(); }
  template <class Visit>
  void ForEachOpen(Visit visit) {
    for (const auto& [id, slot] : ids_) visit(puts_.at(slot));
  }

 private:
  using Expiry = std::multimap<TimePoint, PutSlot>;
  void EraseExpiry(const Put& put);

  std::uint64_t next_slot_ = 1;  // never used twice: a late piece finds nothing
  std::unordered_map<PutSlot, Put> puts_;
  std::unordered_map<ObjectId, PutSlot, ObjectIdHash> ids_;
  Expiry expiries_;
};

}  // namespace kdn::storage
