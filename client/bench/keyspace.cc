#include "client/bench/keyspace.h"

#include <algorithm>

namespace kdn::bench {

Keyspace::Keyspace(std::uint64_t records, std::uint64_t inserts_max)
    : capacity_(records + inserts_max),
      versions_(std::make_unique<Versions[]>(capacity_)),
      visible_(records),
      next_(records) {}

std::uint32_t Keyspace::VersionOf(std::uint64_t record) const {
  return versions_[record].acknowledged.load(std::memory_order_acquire);
}

std::uint32_t Keyspace::NextVersion(std::uint64_t record) {
  return versions_[record].given.fetch_add(1, std::memory_order_relaxed) + 1;
}

void Keyspace::Acknowledge(std::uint64_t record, std::uint32_t version) {
  std::atomic<std::uint32_t>& acknowledged = versions_[record].acknowledged;
  std::uint32_t before = acknowledged.load(std::memory_order_relaxed);
  while (before < version &&
         !acknowledged.compare_exchange_weak(before, version, std::memory_order_release)) {
  }
}

std::uint64_t Keyspace::Insert() {
  return std::min(next_.fetch_add(1), capacity_ - 1);
}

void Keyspace::EndInsert(std::uint64_t record) {
  const std::scoped_lock lock(mutex_);
  versions_[record].ended = true;
  std::uint64_t visible = visible_.load(std::memory_order_relaxed);
  while (visible < capacity_ && versions_[visible].ended) ++visible;
  visible_.store(visible, std::memory_order_release);
}

}  // namespace kdn::bench
