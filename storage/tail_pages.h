// Shares pages among the ends of objects: what is left of an object after its whole pages goes, in
// units of 4 KiB, into a page with other ends. Without this an object of 64 KiB and a header would
// fill two pages and waste half.
//
// Knows nothing of memory: pages are numbers, taken from and given back to a PageRuns.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "storage/page_runs.h"

namespace kdn::storage {

inline constexpr std::uint32_t kUnitsPerPage = 16;

// Units [first, first + count) of one page.
struct UnitRun {
  std::uint32_t page = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  friend bool operator==(const UnitRun&, const UnitRun&) = default;
};

class TailPages {
 public:
  explicit TailPages(PageRuns& pages);

  // Neighbouring units of one page: of the shared page whose longest gap fits closest, else of a
  // new one. nullopt if there is neither. Requires: 0 < count < kUnitsPerPage.
  [[nodiscard]] std::optional<UnitRun> Allocate(std::uint32_t count);
  // Any part of what was allocated may be freed; an empty page goes back.
  void Free(UnitRun run);

  // Units that are free in shared pages.
  [[nodiscard]] std::uint64_t idle_count() const { return idle_count_; }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Node {
    std::uint16_t used = 0;  // one bit per unit
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
  };
  void Link(std::uint32_t page);
  void Unlink(std::uint32_t page);

  PageRuns& pages_;
  std::vector<Node> nodes_;
  std::vector<PageRun> taken_;  // reused
  // Shared pages by their longest gap; full ones are in the list of 0.
  std::array<std::uint32_t, kUnitsPerPage> heads_;
  std::uint64_t idle_count_ = 0;
};

}  // namespace kdn::storage
