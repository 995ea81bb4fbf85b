#include "storage/page_runs.h"

#include <bit>
#include <cassert>

namespace kdn::storage {

PageRuns::PageRuns(std::uint32_t page_count) : nodes_(page_count) {
  heads_.fill(kNone);
  if (page_count > 0) Insert({0, page_count});
  free_count_ = page_count;
}

std::size_t PageRuns::ClassOf(std::uint32_t count) {
  if (count < kExactClasses) return count;
  // Eight steps per doubling: the three bits after the leading one.
  const auto doubling = static_cast<std::uint32_t>(std::bit_width(count)) - 1;
  const std::uint32_t step = (count >> (doubling - 3)) & 7;
  return kExactClasses + std::size_t{doubling - 6} * kStepsPerDoubling + step;
}

void PageRuns::Insert(PageRun run) {
  const std::size_t size_class = ClassOf(run.count);
  const std::uint32_t head = heads_[size_class];
  nodes_[run.first] = {run.count, head, kNone, true};
  Node& last = nodes_[run.first + run.count - 1];
  last.count = run.count;
  last.is_free = true;
  if (head != kNone) nodes_[head].previous = run.first;
  heads_[size_class] = run.first;
  nonempty_[size_class / 64] |= std::uint64_t{1} << (size_class % 64);
}

void PageRuns::Remove(PageRun run) {
  const std::size_t size_class = ClassOf(run.count);
  Node& first = nodes_[run.first];
  if (first.next != kNone) nodes_[first.next].previous = first.previous;
  if (first.previous != kNone) {
    nodes_[first.previous].next = first.next;
  } else {
    heads_[size_class] = first.next;
    if (first.next == kNone) {
      nonempty_[size_class / 64] &= ~(std::uint64_t{1} << (size_class % 64));
    }
  }
  first.is_free = false;
  nodes_[run.first + run.count - 1].is_free = false;
}

std::optional<std::size_t> PageRuns::ClassAtLeast(std::size_t size_class) const {
  std::size_t word = size_class / 64;
  if (word >= nonempty_.size()) return std::nullopt;
  std::uint64_t bits = nonempty_[word] & (~std::uint64_t{0} << (size_class % 64));
  while (bits == 0) {
    if (++word == nonempty_.size()) return std::nullopt;
    bits = nonempty_[word];
  }
  return word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
}

PageRun PageRuns::Choose(std::uint32_t count) const {
  // The own class of a long run may hold shorter ones: a few are looked at for the closest fit.
  constexpr int kLookedAt = 8;
  const std::size_t own = ClassOf(count);
  std::uint32_t page = heads_[own];
  for (int i = 0; i < kLookedAt && page != kNone; ++i, page = nodes_[page].next) {
    if (nodes_[page].count >= count) return {page, nodes_[page].count};
  }
  if (const auto longer = ClassAtLeast(own + 1)) {
    return {heads_[*longer], nodes_[heads_[*longer]].count};
  }
  std::size_t longest = 0;
  for (std::size_t word = nonempty_.size(); word-- > 0 && longest == 0;) {
    if (nonempty_[word] == 0) continue;
    longest = word * 64 + 63 - static_cast<std::size_t>(std::countl_zero(nonempty_[word]));
  }
  return {heads_[longest], nodes_[heads_[longest]].count};
}

bool PageRuns::Allocate(std::uint32_t count, std::vector<PageRun>& out) {
  assert(count > 0);
  if (count > free_count_) return false;
  free_count_ -= count;
  while (count > 0) {
    PageRun run = Choose(count);
    Remove(run);
    if (run.count > count) {
      Insert({run.first + count, run.count - count});
      run.count = count;
    }
    count -= run.count;
    out.push_back(run);
  }
  return true;
}

void PageRuns::Free(PageRun run) {
  assert(run.count > 0 && std::size_t{run.first} + run.count <= nodes_.size());
  free_count_ += run.count;
  if (run.first > 0 && nodes_[run.first - 1].is_free) {
    const std::uint32_t count = nodes_[run.first - 1].count;
    const PageRun left{run.first - count, count};
    Remove(left);
    run = {left.first, left.count + run.count};
  }
  const std::uint32_t after = run.first + run.count;
  if (after < nodes_.size() && nodes_[after].is_free) {
    const PageRun right{after, nodes_[after].count};
    Remove(right);
    run.count += right.count;
  }
  Insert(run);
}

}  // namespace kdn::storage
