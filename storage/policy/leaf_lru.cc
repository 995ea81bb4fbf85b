#include "storage/policy/leaf_lru.h"

#include <cassert>
#include <set>
#include <unordered_map>
#include <utility>

namespace kdn::storage {
namespace {

// Where an object stands in its chain. Parts are chains of their own.
struct Place {
  TenantId tenant{};
  ChunkKey key;
  std::uint16_t part = 0;

  friend bool operator==(const Place&, const Place&) = default;
};
struct PlaceHash {
  std::size_t operator()(const Place& place) const {
    return IdHash()(place.key) + place.part * 0x9E3779B97F4A7C15U;
  }
};

class LeafLru final : public EvictionPolicy {
 public:
  void OnInsert(const Candidate& candidate, std::uint64_t now_ns) override {
    const auto [entry, inserted] = objects_.try_emplace(candidate.slot);
    assert(inserted);
    Object& object = entry->second;
    object.place = {candidate.tenant, candidate.key, candidate.part};
    object.parent = {candidate.tenant, candidate.parent, candidate.part};
    if (object.parent == object.place) object.parent.key = {};
    Chain& own = chains_[object.place];
    assert(!own.present);
    own.present = true;
    own.slot = candidate.slot;
    if (own.children > 0 && LeadsTo(object.parent, object.place)) object.parent.key = {};
    if (!object.parent.key.IsZero()) {
      Chain& parent = chains_[object.parent];
      ++parent.children;
      if (parent.present) Refresh(parent.slot);
    }
    object.used = {now_ns, next_sequence_++};
    Refresh(candidate.slot);
  }

  void OnHit(ObjectSlot slot, std::uint64_t now_ns) override {
    Object& object = objects_.at(slot);
    const Use use{now_ns, next_sequence_++};
    if (object.ranked) {
      // The node is moved, not made anew: a hit must not allocate.
      auto node = ranking_.extract({object.used, slot});
      node.value() = {use, slot};
      ranking_.insert(std::move(node));
    }
    object.used = use;
  }

  void OnErase(ObjectSlot slot) override {
    const auto entry = objects_.find(slot);
    assert(entry != objects_.end());
    const Object object = entry->second;
    if (object.ranked) ranking_.erase({object.used, slot});
    objects_.erase(entry);
    const auto own = chains_.find(object.place);
    own->second.present = false;
    if (own->second.children == 0) chains_.erase(own);
    if (object.parent.key.IsZero()) return;
    const auto parent = chains_.find(object.parent);
    --parent->second.children;
    if (parent->second.present) {
      Refresh(parent->second.slot);
    } else if (parent->second.children == 0) {
      chains_.erase(parent);
    }
  }

  void Hold(ObjectSlot slot, bool held) override {
    objects_.at(slot).held = held;
    Refresh(slot);
  }

  [[nodiscard]] std::optional<ObjectSlot> Victim() const override {
    if (ranking_.empty()) return std::nullopt;
    return ranking_.begin()->second;
  }

 private:
  using Use = std::pair<std::uint64_t, std::uint64_t>;  // when, and in which order within that
  struct Object {
    Place place;
    Place parent;
    Use used;
    bool held = false;
    bool ranked = false;  // it is in ranking_: neither held nor a parent
  };
  // A place in a chain that is taken, or that a present child names as its parent.
  struct Chain {
    bool present = false;
    ObjectSlot slot{};
    std::uint32_t children = 0;
  };

  // Keys come from outside: a ring of parents would have no leaf and could never be given up. Only
  // an object that comes after its children can close one.
  [[nodiscard]] bool LeadsTo(Place from, const Place& place) const {
    while (!from.key.IsZero()) {
      if (from == place) return true;
      const auto chain = chains_.find(from);
      if (chain == chains_.end() || !chain->second.present) return false;
      from = objects_.at(chain->second.slot).parent;
    }
    return false;
  }

  void Refresh(ObjectSlot slot) {
    Object& object = objects_.at(slot);
    const bool ranked = !object.held && chains_.at(object.place).children == 0;
    if (ranked == object.ranked) return;
    object.ranked = ranked;
    if (ranked) {
      ranking_.insert({object.used, slot});
    } else {
      ranking_.erase({object.used, slot});
    }
  }

  std::uint64_t next_sequence_ = 0;
  std::unordered_map<ObjectSlot, Object> objects_;
  std::unordered_map<Place, Chain, PlaceHash> chains_;
  std::set<std::pair<Use, ObjectSlot>> ranking_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakeLeafLru() {
  return std::make_unique<LeafLru>();
}

}  // namespace kdn::storage
