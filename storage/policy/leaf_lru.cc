#include "storage/policy/leaf_lru.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "base/flat_index.h"

namespace kdn::storage {
namespace {

constexpr std::uint32_t kNone = FlatIndex::kNone;

// When, and in which order within that.
using Use = std::pair<std::uint64_t, std::uint64_t>;

// The slots of leaves, the one that was used longest ago on top: a heap with four children a place,
// which knows where each slot stands, so that any can be taken out. Half a microsecond with a
// million of them, where a tree of nodes takes several.
class Ranking {
 public:
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::uint32_t top() const { return heap_.front().slot; }

  // Room for this slot: what comes after does not allocate.
  void MakeRoom(std::uint32_t slot) {
    if (slot >= at_.size()) at_.resize(std::size_t{slot} + 1, kNone);
    heap_.reserve(at_.capacity());
  }
  void Add(std::uint32_t slot, const Use& use) {
    heap_.push_back({});
    Rise(heap_.size() - 1, {use, slot});
  }
  void Remove(std::uint32_t slot) {
    const std::size_t at = std::exchange(at_[slot], kNone);
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.slot != slot) Settle(at, last);
  }
  void Change(std::uint32_t slot, const Use& use) { Settle(at_[slot], {use, slot}); }

 private:
  struct Entry {
    Use use;
    std::uint32_t slot = 0;
  };
  static constexpr std::size_t kChildren = 4;

  void Put(std::size_t at, const Entry& entry) {
    heap_[at] = entry;
    at_[entry.slot] = static_cast<std::uint32_t>(at);
  }
  void Settle(std::size_t at, const Entry& entry) {
    if (at > 0 && entry.use < heap_[(at - 1) / kChildren].use) {
      Rise(at, entry);
    } else {
      Sink(at, entry);
    }
  }
  void Rise(std::size_t at, const Entry& entry) {
    while (at > 0) {
      const std::size_t parent = (at - 1) / kChildren;
      if (!(entry.use < heap_[parent].use)) break;
      Put(at, heap_[parent]);
      at = parent;
    }
    Put(at, entry);
  }
  void Sink(std::size_t at, const Entry& entry) {
    while (true) {
      const std::size_t first = at * kChildren + 1;
      if (first >= heap_.size()) break;
      std::size_t least = first;
      const std::size_t end = std::min(first + kChildren, heap_.size());
      for (std::size_t child = first + 1; child < end; ++child) {
        if (heap_[child].use < heap_[least].use) least = child;
      }
      if (!(heap_[least].use < entry.use)) break;
      Put(at, heap_[least]);
      at = least;
    }
    Put(at, entry);
  }

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> at_;  // by slot; kNone: not ranked
};

class LeafLru final : public EvictionPolicy {
 public:
  void OnInsert(const Candidate& candidate, std::uint64_t now_ns) override {
    const std::uint32_t slot = NumberOf(candidate.slot);
    if (slot >= objects_.size()) objects_.resize(std::size_t{slot} + 1);
    ranking_.MakeRoom(slot);
    const std::uint32_t own = LinkOf({candidate.tenant, candidate.key, candidate.part});
    assert(links_[own].slot == kNone);
    links_[own].slot = slot;
    Object& object = objects_[slot];
    object = {.link = own, .parent = kNone, .used = {now_ns, next_sequence_++}};
    if (!candidate.parent.IsZero() && candidate.parent != candidate.key) {
      const std::uint32_t parent = LinkOf({candidate.tenant, candidate.parent, candidate.part});
      if (links_[own].children == 0 || !LeadsTo(parent, own)) {
        object.parent = parent;
        ++links_[parent].children;
        if (links_[parent].slot != kNone) Refresh(links_[parent].slot);
      }
    }
    Refresh(slot);
  }

  void OnHit(ObjectSlot slot, std::uint64_t now_ns) override {
    Object& object = objects_[NumberOf(slot)];
    object.used = {now_ns, next_sequence_++};
    if (object.ranked) ranking_.Change(NumberOf(slot), object.used);
  }

  void OnErase(ObjectSlot erased) override {
    const std::uint32_t slot = NumberOf(erased);
    const Object object = std::exchange(objects_[slot], Object{});
    assert(object.link != kNone);
    if (object.ranked) ranking_.Remove(slot);
    links_[object.link].slot = kNone;
    if (links_[object.link].children == 0) FreeLink(object.link);
    if (object.parent == kNone) return;
    Link& parent = links_[object.parent];
    --parent.children;
    if (parent.slot != kNone) {
      Refresh(parent.slot);
    } else if (parent.children == 0) {
      FreeLink(object.parent);
    }
  }

  void Hold(ObjectSlot slot, bool held) override {
    objects_[NumberOf(slot)].held = held;
    Refresh(NumberOf(slot));
  }

  [[nodiscard]] std::optional<ObjectSlot> Victim() const override {
    if (ranking_.empty()) return std::nullopt;
    return ObjectSlot{ranking_.top()};
  }

 private:
  // Where an object stands in its chain. Parts are chains of their own.
  struct Place {
    TenantId tenant{};
    ChunkKey key;
    std::uint16_t part = 0;

    friend bool operator==(const Place&, const Place&) = default;
  };
  // A place that is taken, or that a present child names as its parent.
  struct Link {
    Place place;
    std::uint32_t slot = kNone;  // kNone: not taken
    std::uint32_t children = 0;
  };
  struct Object {
    std::uint32_t link = kNone;    // its own; kNone: no object has this slot
    std::uint32_t parent = kNone;  // its parent's
    Use used;
    bool held = false;
    bool ranked = false;  // neither held nor a parent
  };

  static std::uint32_t NumberOf(ObjectSlot slot) { return static_cast<std::uint32_t>(slot); }
  static std::uint64_t HashOf(const Place& place) {
    return IdHash()(place.key) + place.part * 0x9E3779B97F4A7C15U;
  }

  // The link of this place, made if there is none.
  [[nodiscard]] std::uint32_t LinkOf(const Place& place) {
    const std::uint64_t hash = HashOf(place);
    const std::uint32_t found =
        index_.Find(hash, [&](std::uint32_t link) { return links_[link].place == place; });
    if (found != kNone) return found;
    std::uint32_t link = kNone;
    if (free_links_.empty()) {
      link = static_cast<std::uint32_t>(links_.size());
      links_.emplace_back();
      free_links_.reserve(links_.capacity());
    } else {
      link = free_links_.back();
      free_links_.pop_back();
    }
    links_[link] = {.place = place};
    index_.Insert(hash, link);
    return link;
  }
  void FreeLink(std::uint32_t link) {
    index_.Erase(HashOf(links_[link].place), link);
    free_links_.push_back(link);
  }

  // Keys come from outside: a ring of parents would have no leaf and could never be given up. Only
  // an object that comes after its children can close one.
  [[nodiscard]] bool LeadsTo(std::uint32_t from, std::uint32_t link) const {
    while (from != kNone && from != link) {
      if (links_[from].slot == kNone) return false;
      from = objects_[links_[from].slot].parent;
    }
    return from == link;
  }

  void Refresh(std::uint32_t slot) {
    Object& object = objects_[slot];
    const bool ranked = !object.held && links_[object.link].children == 0;
    if (ranked == object.ranked) return;
    object.ranked = ranked;
    if (ranked) {
      ranking_.Add(slot, object.used);
    } else {
      ranking_.Remove(slot);
    }
  }

  std::uint64_t next_sequence_ = 0;
  std::vector<Object> objects_;  // by slot
  std::vector<Link> links_;
  std::vector<std::uint32_t> free_links_;
  FlatIndex index_;  // of links_, by place
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakeLeafLru() {
  return std::make_unique<LeafLru>();
}

}  // namespace kdn::storage
