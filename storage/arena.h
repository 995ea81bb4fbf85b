// The DRAM tier's memory: one region, mapped and touched at start, registered with a transport as
// a whole. An object gets runs of 64 KiB pages, and for its end a share of a page in units of
// 4 KiB.
//
// Thread-safety: owned by one shard. The bytes themselves may be filled and read elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "storage/page_runs.h"
#include "storage/tail_pages.h"

namespace kdn::storage {

inline constexpr std::size_t kPageBytes = 64 * 1024;
inline constexpr std::size_t kUnitBytes = kPageBytes / kUnitsPerPage;

// What an allocation is content with.
enum class Runs : std::uint8_t {
  kAny,   // whatever is free
  kLong,  // runs of 512 KiB on average; any once more than 1/32 of the arena would be left idle
};

class Arena {
 public:
  // Maps `size_bytes`, rounded down to pages, on huge pages where the system has them.
  // kInvalidArgument for less than a page, kResourceExhausted if the system has not that much.
  static Result<std::unique_ptr<Arena>> Map(std::size_t size_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Appends runs of at least `size_bytes` together to `runs`; all but the last are whole pages.
  // False, and `runs` unchanged, if there is no room, or none that `wanted` is content with: free
  // something and try again. Requires: size_bytes > 0.
  [[nodiscard]] bool Allocate(std::size_t size_bytes, std::vector<MutableBytes>& runs,
                              Runs wanted = Runs::kAny);
  // Frees whole runs of an Allocate(), or what Trim() left of them.
  void Free(std::span<const MutableBytes> runs);
  // Frees all that lies behind the first `size_bytes` of `runs`. Requires: size_bytes > 0.
  void Trim(std::vector<MutableBytes>& runs, std::size_t size_bytes);

  [[nodiscard]] MutableBytes memory() const { return memory_; }
  // Of pages and shared units handed out. What is idle in shared pages counts as free.
  [[nodiscard]] std::size_t bytes_used() const;

 private:
  explicit Arena(MutableBytes memory);
  [[nodiscard]] MutableBytes BytesOf(PageRun run) const;
  // Whether taken_, of `page_count` pages, is what `wanted` is content with.
  [[nodiscard]] bool Contents(Runs wanted, std::uint32_t page_count) const;
  void FreeRun(MutableBytes run);

  MutableBytes memory_;
  PageRuns pages_;
  TailPages tails_;
  std::vector<PageRun> taken_;  // reused
};

}  // namespace kdn::storage
