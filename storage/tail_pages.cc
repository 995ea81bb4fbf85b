#include "storage/tail_pages.h"

#include <cassert>

namespace kdn::storage {
namespace {

constexpr std::uint16_t MaskOf(std::uint32_t first, std::uint32_t count) {
  return static_cast<std::uint16_t>(((1U << count) - 1U) << first);
}

struct Gap {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// The shortest gap of at least `count` units.
Gap ClosestGap(std::uint16_t used, std::uint32_t count) {
  Gap closest{0, kUnitsPerPage + 1};
  std::uint32_t start = 0;
  for (std::uint32_t unit = 0; unit <= kUnitsPerPage; ++unit) {
    if (unit < kUnitsPerPage && ((used >> unit) & 1U) == 0) continue;
    const std::uint32_t length = unit - start;
    if (length >= count && length < closest.count) closest = {start, length};
    start = unit + 1;
  }
  return closest;
}

std::uint32_t LongestGap(std::uint16_t used) {
  // Each step shortens every gap by one.
  auto open = static_cast<std::uint16_t>(~used);
  std::uint32_t longest = 0;
  for (; open != 0; ++longest) open = static_cast<std::uint16_t>(open & (open << 1));
  return longest;
}

}  // namespace

TailPages::TailPages(PageRuns& pages) : pages_(pages), nodes_(pages.page_count()) {
  heads_.fill(kNone);
}

void TailPages::Link(std::uint32_t page) {
  Node& node = nodes_[page];
  std::uint32_t& head = heads_[LongestGap(node.used)];
  node.next = head;
  node.previous = kNone;
  if (head != kNone) nodes_[head].previous = page;
  head = page;
}

void TailPages::Unlink(std::uint32_t page) {
  const Node& node = nodes_[page];
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  if (node.previous != kNone) {
    nodes_[node.previous].next = node.next;
  } else {
    heads_[LongestGap(node.used)] = node.next;
  }
}

std::optional<UnitRun> TailPages::Allocate(std::uint32_t count) {
  assert(count > 0 && count < kUnitsPerPage);
  std::uint32_t gap = count;
  while (gap < kUnitsPerPage && heads_[gap] == kNone) ++gap;
  std::uint32_t page = kNone;
  if (gap < kUnitsPerPage) {
    page = heads_[gap];
    Unlink(page);
  } else {
    taken_.clear();
    if (!pages_.Allocate(1, taken_)) return std::nullopt;
    page = taken_.front().first;
    nodes_[page].used = 0;
    idle_count_ += kUnitsPerPage;
  }
  const UnitRun run{page, ClosestGap(nodes_[page].used, count).first, count};
  nodes_[page].used |= MaskOf(run.first, count);
  idle_count_ -= count;
  Link(page);
  return run;
}

void TailPages::Free(UnitRun run) {
  const std::uint16_t mask = MaskOf(run.first, run.count);
  assert((nodes_[run.page].used & mask) == mask);
  Unlink(run.page);
  nodes_[run.page].used &= static_cast<std::uint16_t>(~mask);
  idle_count_ += run.count;
  if (nodes_[run.page].used != 0) {
    Link(run.page);
  } else {
    idle_count_ -= kUnitsPerPage;
    pages_.Free({run.page, 1});
  }
}

}  // namespace kdn::storage
