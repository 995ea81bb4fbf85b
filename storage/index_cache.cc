#include "storage/index_cache.h"

#include <utility>

namespace kdn::storage {

IndexRef IndexCache::Find(std::uint64_t object, Level level) {
  const auto found = entries_.find(KeyOf(object, level));
  if (found == entries_.end()) return nullptr;
  used_.splice(used_.begin(), used_, found->second);
  return found->second->index;
}

IndexRef IndexCache::Insert(std::uint64_t object, Level level, SegmentIndex index) {
  Erase(object, level);
  Entry entry{KeyOf(object, level), nullptr,
              sizeof(Entry) + sizeof(SegmentIndex) + index.tiles.size() * sizeof(TileEntry)};
  entry.index = std::make_shared<const SegmentIndex>(std::move(index));
  IndexRef inserted = entry.index;
  bytes_used_ += entry.bytes;
  used_.push_front(std::move(entry));
  entries_[used_.front().key] = used_.begin();
  while (bytes_used_ > bytes_max_ && used_.size() > 1) Drop(std::prev(used_.end()));
  return inserted;
}

void IndexCache::Erase(std::uint64_t object, Level level) {
  const auto found = entries_.find(KeyOf(object, level));
  if (found != entries_.end()) Drop(found->second);
}

void IndexCache::Drop(std::list<Entry>::iterator entry) {
  bytes_used_ -= entry->bytes;
  entries_.erase(entry->key);
  used_.erase(entry);
}

}  // namespace kdn::storage
