// The memory that a domain has registered, for transports whose device needs no keys to it: it
// tells which calls may use what, and lets Unregister() wait for those that do.
//
// Thread-safety: a RegionTable is safe; a RegionView belongs to one channel.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/status.h"
#include "transport/channel.h"

namespace kdn::transport {

class Region {
 public:
  explicit Region(const MemoryRegion& memory);
  [[nodiscard]] const MemoryRegion& memory() const { return memory_; }
  [[nodiscard]] bool Contains(ConstBytes bytes) const;

  // False once the region is being unregistered.
  [[nodiscard]] bool Pin();
  void Unpin();
  // Lets no more Pin() succeed and returns when all are undone.
  void Close();

  // Of a region with a descriptor. Whether `bytes` lie in the pages that it maps: in those that
  // have not been made private.
  [[nodiscard]] bool IsShared(ConstBytes bytes) const;
  // Puts private pages in the place of those of `bytes`, for good: who has mapped the descriptor
  // reaches them no more. Requires: nobody here writes to them meanwhile. False if there is no
  // memory for that.
  [[nodiscard]] bool MakePrivate(MutableBytes bytes);
  // Has memory behind `bytes`, so that it is this process that pays for it and not a peer.
  void Populate(ConstBytes bytes);

 private:
  static constexpr std::uint32_t kClosed = 1U << 31;
  static constexpr std::size_t kPopulateBytes = 256 * limits::kKiB;
  MemoryRegion memory_;
  std::atomic<std::uint32_t> uses_{0};
  std::unique_ptr<std::atomic<bool>[]> populated_;  // per kPopulateBytes; null without descriptor
  std::atomic<bool> any_private_{false};
  mutable std::mutex mutex_;
  std::vector<ConstBytes> private_;  // guarded by mutex_
};

class RegionTable {
 public:
  // kInvalidArgument for an empty region, kAlreadyExists if it overlaps another, kUnimplemented for
  // device memory.
  Status Register(const MemoryRegion& region);
  // kNotFound if no region begins there.
  Status Unregister(const std::byte* address);
  // Those with a descriptor, the first `count_max`. Shared with the table, as a view's are.
  [[nodiscard]] std::vector<std::shared_ptr<Region>> Shareable(std::size_t count_max) const;

 private:
  friend class RegionView;
  mutable std::mutex mutex_;
  // Shared with the views, which go on looking at a region while it is being taken out.
  std::vector<std::shared_ptr<Region>> regions_;  // guarded by mutex_
  std::atomic<std::uint64_t> version_{1};
};

// A channel's copy of the table, so that a call takes no lock.
class RegionView {
 public:
  // `table` outlives it.
  explicit RegionView(const RegionTable& table) : table_(table) {}

  // Pins what holds `bytes` and appends it to `pins`, unless it is the last one there already.
  // kFailedPrecondition if no registered region holds them; `pins` is then as before.
  Status Pin(ConstBytes bytes, std::vector<Region*>& pins);

 private:
  const RegionTable& table_;
  std::uint64_t version_ = 0;
  std::vector<std::shared_ptr<Region>> regions_;
  // Regions that calls may still have pinned after they left the table.
  std::vector<std::shared_ptr<Region>> retired_;
};

// Undoes all of them and clears the list.
void UnpinAll(std::vector<Region*>& pins);

}  // namespace kdn::transport
