// Hands out pages of a region by number, in runs as long as can be had: long runs become few work
// requests on RDMA and few system calls on TCP. Free neighbours are joined; free runs are found by
// size class, so that nothing here depends on how many there are.
//
// Knows nothing of memory: pages are numbers.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace kdn::storage {

struct PageRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  friend bool operator==(const PageRun&, const PageRun&) = default;
};

class PageRuns {
 public:
  explicit PageRuns(std::uint32_t page_count);

  // Appends runs of `count` pages together to `out`: one if any free run is long enough, else the
  // longest there are. False, and `out` unchanged, if fewer pages are free. Requires: count > 0.
  [[nodiscard]] bool Allocate(std::uint32_t count, std::vector<PageRun>& out);
  // Any part of what was allocated may be freed. Requires: these pages are allocated.
  void Free(PageRun run);

  [[nodiscard]] std::uint32_t free_count() const { return free_count_; }
  [[nodiscard]] std::uint32_t page_count() const {
    return static_cast<std::uint32_t>(nodes_.size());
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  static constexpr std::uint32_t kExactClasses = 64;  // runs shorter than this: a class per length
  static constexpr std::uint32_t kStepsPerDoubling = 8;
  static constexpr std::size_t kClassCount = kExactClasses + (32 - 6) * kStepsPerDoubling;

  // `count` and `is_free` hold on the first and the last page of a free run and nowhere else, so
  // that a freed neighbour finds both its ends; the links hold on its first page.
  struct Node {
    std::uint32_t count = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    bool is_free = false;
  };

  static std::size_t ClassOf(std::uint32_t count);
  void Insert(PageRun run);
  void Remove(PageRun run);
  [[nodiscard]] std::optional<std::size_t> ClassAtLeast(std::size_t size_class) const;
  // A free run of at least `count` pages; failing that, one of the longest class.
  [[nodiscard]] PageRun Choose(std::uint32_t count) const;

  std::vector<Node> nodes_;
  std::array<std::uint32_t, kClassCount> heads_;
  std::array<std::uint64_t, (kClassCount + 63) / 64> nonempty_{};  // one bit per class
  std::uint32_t free_count_ = 0;
};

}  // namespace kdn::storage
