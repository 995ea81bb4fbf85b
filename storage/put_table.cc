#include "storage/put_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace kdn::storage {

void Put::Receive(std::uint64_t begin, std::uint64_t end) {
  // From the range before `begin`, if that reaches it, to the last that begins by `end`.
  auto at = received.upper_bound(begin);
  if (at != received.begin() && std::prev(at)->second >= begin) --at;
  while (at != received.end() && at->first <= end) {
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    at = received.erase(at);
  }
  received.emplace(begin, end);
}

void Put::HandOut(std::uint64_t begin, std::uint64_t end) {
  // Over what has been summed, or beside another who writes there: then sums prove nothing.
  const bool again = begin < sums.seen() ||
                     std::any_of(
                         handed_out.begin(), handed_out.end(),
                         [&](const Bytes& other) {
                           return begin < other.offset + other.size_bytes && other.offset < end;
                         });
  if (again) sums.GiveUp();
  handed_out.push_back({begin, end - begin, 0});
}

void Put::Arrive(std::uint64_t begin, std::size_t size_bytes) {
  if (ended) return;
  for (Bytes& bytes : handed_out) {
    if (bytes.offset == begin && size_bytes <= bytes.size_bytes) bytes.arrived = size_bytes;
  }
  // Sums go on through whatever other pieces have brought meanwhile.
  for (bool further = true; further;) {
    further = false;
    for (const Bytes& bytes : handed_out) {
      const std::uint64_t end = bytes.offset + bytes.arrived;
      if (bytes.offset > sums.seen() || end <= sums.seen()) continue;
      sums.Advance(*block, end);
      further = sums.seen() == end;
    }
  }
}

bool Put::Complete() const {
  return handed_out.empty() && received.size() == 1 && received.begin()->first == 0 &&
         received.begin()->second == block->size();
}

Put* PutTable::Find(const ObjectId& id) {
  const auto found = ids_.find(id);
  return found == ids_.end() ? nullptr : &puts_.at(found->second);
}

Put* PutTable::At(PutSlot slot) {
  const auto found = puts_.find(slot);
  return found == puts_.end() ? nullptr : &found->second;
}

const Put* PutTable::At(PutSlot slot) const {
  const auto found = puts_.find(slot);
  return found == puts_.end() ? nullptr : &found->second;
}

Put& PutTable::Insert(const ObjectId& id, BlockRef block, TimePoint expires) {
  const PutSlot slot{next_slot_++};
  Put& put = puts_[slot];
  put.slot = slot;
  put.id = id;
  put.block = std::move(block);
  put.expires = expires;
  ids_.emplace(id, slot);
  expiries_.emplace(expires, slot);
  return put;
}

void PutTable::EraseExpiry(const Put& put) {
  const auto [first, last] = expiries_.equal_range(put.expires);
  expiries_.erase(std::find_if(first, last, [&](const auto& e) { return e.second == put.slot; }));
}

void PutTable::Extend(Put& put, TimePoint expires) {
  if (expires <= put.expires) return;
  EraseExpiry(put);
  put.expires = expires;
  expiries_.emplace(expires, put.slot);
}

void PutTable::End(Put& put) {
  EraseExpiry(put);
  ids_.erase(put.id);
  put.ended = true;
  Reap(put);
}

void PutTable::Expire(TimePoint now) {
  for (auto at = expiries_.begin(); at != expiries_.end() && at->first <= now;) {
    Put& put = puts_.at((at++)->second);
    if (put.commits.empty()) End(put);
  }
}

bool PutTable::TakeBack(Put& put, const Put::Bytes& bytes) {
  const auto found = std::find(put.handed_out.begin(), put.handed_out.end(), bytes);
  if (found == put.handed_out.end()) return false;
  *found = put.handed_out.back();
  put.handed_out.pop_back();
  return true;
}

void PutTable::Reap(Put& put) {
  if (put.ended && put.handed_out.empty()) puts_.erase(put.slot);
}

}  // namespace kdn::storage
