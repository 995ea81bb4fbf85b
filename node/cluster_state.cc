#include "node/cluster_state.h"

#include <algorithm>

#include "proto/object/chunk_key.h"

namespace kdn::node {

const std::string* ClusterView::EndpointOf(NodeId node, const ChunkKey& key) const {
  const auto at = std::ranges::lower_bound(map.nodes, node, {}, &wire::NodeEndpoints::node);
  if (at == map.nodes.end() || at->node != node || at->shards.empty()) return nullptr;
  return &at->shards[ShardOfKey(key, static_cast<std::uint32_t>(at->shards.size()))];
}

std::shared_ptr<const ClusterView> ClusterState::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void ClusterState::SetView(ClusterView view) {
  auto next = std::make_shared<const ClusterView>(std::move(view));
  const std::lock_guard lock(mutex_);
  view_.swap(next);
}

void ClusterState::RaiseEpoch(Epoch durable) {
  Epoch seen = epoch_.load();
  while (seen < durable && !epoch_.compare_exchange_weak(seen, durable)) {
  }
}

void ClusterState::NoteContact(TimePoint now, std::uint64_t coordinator_now_ms) {
  const std::lock_guard lock(mutex_);
  contact_ = {now, coordinator_now_ms, true};
}

bool ClusterState::InContact(TimePoint now) const {
  const std::lock_guard lock(mutex_);
  return contact_.ever && now - contact_.at < kContactTimeout;
}

std::uint64_t ClusterState::CoordinatorNowMs(TimePoint now) const {
  const std::lock_guard lock(mutex_);
  if (!contact_.ever) return 0;
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now - contact_.at);
  return contact_.coordinator_now_ms + static_cast<std::uint64_t>(since.count());
}

}  // namespace kdn::node
