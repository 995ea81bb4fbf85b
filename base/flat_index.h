// Finds small numbers by a hash: the index of a table whose entries lie elsewhere and say
// themselves what they are called. Eight bytes a slot, one cache line a look, no allocation but to
// grow, and nothing is read of an entry but to compare it.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kdn {

class FlatIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // The number that was inserted with this hash and is the one that is meant, as `is(number)` says;
  // else kNone.
  template <class Is>
  [[nodiscard]] std::uint32_t Find(std::uint64_t hash, Is is) const {
    if (slots_.empty()) return kNone;
    const std::uint32_t tag = TagOf(hash);
    for (std::size_t at = tag & mask_; slots_[at].number != kNone; at = (at + 1) & mask_) {
      if (slots_[at].tag == tag && is(slots_[at].number)) return slots_[at].number;
    }
    return kNone;
  }

  // Requires: the number is not there yet.
  void Insert(std::uint64_t hash, std::uint32_t number) {
    if ((count_ + 1) * 3 > slots_.size() * 2) Grow();
    Place({number, TagOf(hash)});
    ++count_;
  }

  // Requires: it was inserted with this hash.
  void Erase(std::uint64_t hash, std::uint32_t number) {
    std::size_t hole = TagOf(hash) & mask_;
    while (slots_[hole].number != number) hole = (hole + 1) & mask_;
    // Those behind move up, so that no gap ends a search early and no tombstone is left.
    for (std::size_t at = (hole + 1) & mask_; slots_[at].number != kNone; at = (at + 1) & mask_) {
      const std::size_t home = slots_[at].tag & mask_;
      if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole].number = kNone;
    --count_;
  }

  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint32_t number = kNone;
    std::uint32_t tag = 0;
  };

  static std::uint32_t TagOf(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash ^ (hash >> 32));
  }

  void Place(const Slot& slot) {
    std::size_t at = slot.tag & mask_;
    while (slots_[at].number != kNone) at = (at + 1) & mask_;
    slots_[at] = slot;
  }

  void Grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
    old.swap(slots_);
    mask_ = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.number != kNone) Place(slot);
    }
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  std::size_t count_ = 0;
};

}  // namespace kdn
