#include "client/core/staging.h"

#include <algorithm>
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

bool StagingPool::BeyondShare(std::size_t rounded, StagingUse use) const {
  if (use == StagingUse::kRead) return false;
  const std::size_t held = held_bytes_[static_cast<std::size_t>(use)];
  return held > 0 && held + rounded > memory_.size() / 4 * 3;
}

// Stores take from the front and reads from the back, so that what is left to reads is in one run.
MutableBytes StagingPool::TryTake(std::size_t size_bytes, StagingUse use) {
  const std::size_t wanted = Rounded(size_bytes);
  if (BeyondShare(wanted, use)) return {};
  const auto fits = [wanted](const auto& run) { return run.second >= wanted; };
  auto it = free_.end();
  if (use == StagingUse::kStore) {
    it = std::find_if(free_.begin(), free_.end(), fits);
  } else if (const auto last = std::find_if(free_.rbegin(), free_.rend(), fits);
             last != free_.rend()) {
    it = std::prev(last.base());
  }
  if (it == free_.end()) return {};
  const auto [offset, size] = *it;
  free_.erase(it);
  held_bytes_[static_cast<std::size_t>(use)] += wanted;
  if (use == StagingUse::kStore) {
    if (size > wanted) free_.emplace(offset + wanted, size - wanted);
    return memory_.subspan(offset, size_bytes);
  }
  if (size > wanted) free_.emplace(offset, size - wanted);
  return memory_.subspan(offset + size - wanted, size_bytes);
}

void StagingPool::Take(std::size_t size_bytes, StagingUse use,
                       std::function<void(MutableBytes)> ready) {
  if (size_bytes == 0 || Rounded(size_bytes) > memory_.size()) {
    ready({});
    return;
  }
  waiting_.push_back({size_bytes, use, std::move(ready)});
  ServeWaiting();
}

MutableBytes StagingPool::TakeNow(std::size_t size_bytes) {
  const auto reads = [](const Waiting& waiting) { return waiting.use == StagingUse::kRead; };
  if (size_bytes == 0 || serving_ || std::any_of(waiting_.begin(), waiting_.end(), reads)) {
    return {};
  }
  return TryTake(size_bytes, StagingUse::kRead);
}

void StagingPool::Give(MutableBytes run, StagingUse use) {
  if (run.empty()) return;
  auto offset = static_cast<std::size_t>(run.data() - memory_.data());
  std::size_t size = Rounded(run.size());
  held_bytes_[static_cast<std::size_t>(use)] -= size;
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
  while (ServeFirst()) {
  }
  serving_ = false;
}

// Serves the first who may be served; false if there is nobody. A store that waits for other stores
// holds nobody up but stores; one that waits for reads has its turn before reads that came later,
// as theirs end soon.
bool StagingPool::ServeFirst() {
  bool stores_wait = false;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const auto [size_bytes, use] = std::pair(waiting_[i].size_bytes, waiting_[i].use);
    if (use == StagingUse::kStore && stores_wait) continue;
    const MutableBytes run = TryTake(size_bytes, use);
    if (!run.empty()) {
      const auto ready = std::move(waiting_[i].ready);
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      ready(run);
      return true;
    }
    const bool for_reads = held_bytes_[static_cast<std::size_t>(StagingUse::kRead)] > 0 &&
                           !BeyondShare(Rounded(size_bytes), use);
    if (use == StagingUse::kRead || for_reads) return false;
    stores_wait = true;
  }
  return false;
}

}  // namespace kdn::client
