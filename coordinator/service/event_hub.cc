#include "coordinator/service/event_hub.h"

namespace kdn::coordinator {
namespace {

constexpr std::size_t kWatchersMax = 64;
constexpr std::size_t kQueuedMax = 1U << 16;

}  // namespace

Result<EventHub::WatcherId> EventHub::Add(TenantId tenant) {
  const std::lock_guard lock(mutex_);
  if (watchers_.size() >= kWatchersMax) {
    return Error(Code::kResourceExhausted, "too many readers of events");
  }
  const auto id = static_cast<WatcherId>(next_watcher_++);
  watchers_[id].tenant = tenant;
  return id;
}

void EventHub::Remove(WatcherId watcher) {
  const std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

bool EventHub::HasWatchers() const {
  const std::lock_guard lock(mutex_);
  return !watchers_.empty();
}

void EventHub::Publish(const std::vector<DirectoryChange>& changes) {
  if (changes.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (const DirectoryChange& change : changes) {
      const std::uint64_t sequence = next_sequence_++;
      for (auto& [id, watcher] : watchers_) {
        if (watcher.tenant != TenantId{} && watcher.tenant != change.tenant) continue;
        if (watcher.behind) continue;
        if (watcher.queue.size() >= kQueuedMax) {
          watcher.behind = true;
          watcher.queue.clear();
        } else {
          watcher.queue.push_back({sequence, change});
        }
      }
    }
  }
  changed_.notify_all();
}

Result<std::optional<SequencedChange>> EventHub::Next(WatcherId id,
                                                      std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto at = watchers_.find(id);
  if (at == watchers_.end()) return Error(Code::kNotFound);
  Watcher& watcher = at->second;
  (void)changed_.wait_for(lock, timeout,
                          [&] { return closed_ || watcher.behind || !watcher.queue.empty(); });
  if (closed_) return Error(Code::kCancelled, "the coordinator is stopping");
  if (watcher.behind) return Error(Code::kOutOfRange, "the reader is too slow: begin again");
  if (watcher.queue.empty()) return std::optional<SequencedChange>();
  std::optional<SequencedChange> next = std::move(watcher.queue.front());
  watcher.queue.pop_front();
  return next;
}

void EventHub::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

}  // namespace kdn::coordinator
