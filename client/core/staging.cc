#include "client/core/staging.h"

#include <iterator>
#include <utility>

namespace kdn::client {
namespace {

constexpr std::size_t kAlignment = 4096;

}  // namespace

std::size_t StagingPool::Rounded(std::size_t size_bytes) {
  return (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

StagingPool::StagingPool(std::unique_ptr<BulkMemory> memory)
    : owned_(std::move(memory)), memory_(owned_->bytes()) {
  free_.emplace(0, memory_.size());
}

MutableBytes StagingPool::TryTake(std::size_t size_bytes) {
  const std::size_t wanted = Rounded(size_bytes);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [offset, size] = *it;
    if (size < wanted) continue;
    free_.erase(it);
    if (size > wanted) free_.emplace(offset + wanted, size - wanted);
    return memory_.subspan(offset, size_bytes);
  }
  return {};
}

void StagingPool::Take(std::size_t size_bytes, std::function<void(MutableBytes)> ready) {
  if (size_bytes == 0 || Rounded(size_bytes) > memory_.size()) {
    ready({});
    return;
  }
  waiting_.push_back({size_bytes, std::move(ready)});
  ServeWaiting();
}

MutableBytes StagingPool::TakeNow(std::size_t size_bytes) {
  if (size_bytes == 0 || serving_ || !waiting_.empty()) return {};
  return TryTake(size_bytes);
}

void StagingPool::Give(MutableBytes run) {
  if (run.empty()) return;
  auto offset = static_cast<std::size_t>(run.data() - memory_.data());
  std::size_t size = Rounded(run.size());
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + size) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      free_.erase(before);
    }
  }
  free_.emplace(offset, size);
  ServeWaiting();
}

void StagingPool::ServeWaiting() {
  if (serving_) return;  // `ready` may take or give again: the outer loop goes on with it
  serving_ = true;
  while (!waiting_.empty()) {
    const MutableBytes run = TryTake(waiting_.front().size_bytes);
    if (run.empty()) break;
    const auto ready = std::move(waiting_.front().ready);
    waiting_.pop_front();
    ready(run);
  }
  serving_ = false;
}

}  // namespace kdn::client
