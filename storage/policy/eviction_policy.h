// Decides which object to give up when a tier runs out. A policy ranks; it never frees, never does
// I/O and never reads a clock: who owns it tells it what happened and when. One instance ranks one
// tier.
//
// Whatever the ranking, eviction is leaf-first along chains: a chunk that lacks its prefix is dead
// weight, so a victim never has a child in the same tier.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"

namespace kdn::storage {

// A small number: given again once its object is gone, so that they stay dense.
enum class ObjectSlot : std::uint64_t {};

// What a policy may know of an object.
struct Candidate {
  ObjectSlot slot{};
  TenantId tenant{};
  ChunkKey key;
  ChunkKey parent;  // zero: begins its chain
  std::uint16_t part = 0;
  std::size_t bytes = 0;
};

class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // Requires: neither the slot nor another object of the same tenant, key and part is tracked.
  // Times may be equal and may run backwards.
  virtual void OnInsert(const Candidate& candidate, std::uint64_t now_ns) = 0;
  // Each requires a tracked slot.
  virtual void OnHit(ObjectSlot slot, std::uint64_t now_ns) = 0;
  virtual void OnErase(ObjectSlot slot) = 0;
  // While it is held (a read lends its memory out, the disk is writing it) it is no victim.
  virtual void Hold(ObjectSlot slot, bool held) = 0;

  // The object whose loss is judged cheapest, still tracked until OnErase(); nullopt if none may
  // go.
  [[nodiscard]] virtual std::optional<ObjectSlot> Victim() const = 0;
};

struct EvictionPolicyInfo {
  std::string_view name;  // as written in configs
  std::unique_ptr<EvictionPolicy> (*make)();
};
// All policies. To add one, add a row (docs/extending.md).
[[nodiscard]] std::span<const EvictionPolicyInfo> EvictionPolicies();

// kNotFound if no policy has this name; the message lists those there are.
[[nodiscard]] Result<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(std::string_view name);

}  // namespace kdn::storage
