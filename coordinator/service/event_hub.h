// Hands the directory's changes to those who watch: a bounded queue each, so that a slow reader
// loses its place and not the coordinator its memory.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "coordinator/core/directory.h"

namespace kdn::coordinator {

struct SequencedChange {
  std::uint64_t sequence = 0;
  DirectoryChange change;
};

class EventHub {
 public:
  enum class WatcherId : std::uint64_t {};

  // kResourceExhausted if too many watch.
  [[nodiscard]] Result<WatcherId> Add(TenantId tenant);
  void Remove(WatcherId watcher);
  [[nodiscard]] bool HasWatchers() const;

  void Publish(const std::vector<DirectoryChange>& changes);
  // The next change, waiting up to `timeout`; nothing if none came. kOutOfRange once the watcher
  // has fallen behind, kCancelled once closed.
  [[nodiscard]] Result<std::optional<SequencedChange>> Next(WatcherId watcher,
                                                            std::chrono::milliseconds timeout);
  // Ends all waiting.
  void Close();

 private:
  struct Watcher {
    TenantId tenant{};  // 0: all
    bool behind = false;
    std::deque<SequencedChange> queue;
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<WatcherId, Watcher> watchers_;  // guarded by mutex_, as all below
  std::uint64_t next_watcher_ = 1;
  std::uint64_t next_sequence_ = 1;
  bool closed_ = false;
};

}  // namespace kdn::coordinator
