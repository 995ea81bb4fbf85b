// How near this node is to the memory limit of its control group, and what it refuses therefore.
// Who reaches the limit is killed by the kernel, and with it everything that is in DRAM: before
// that the node takes on less, the least urgent first.
//
// What counts is memory that the kernel cannot take back: a control group is charged for cached
// file pages too, which go as soon as they are needed. The DRAM tier is taken at the start and does
// not grow; what grows is what the node took since: RocksDB's buffers, connections, requests.
//
// Thread-safety: Sample() and Sheds() are safe; SetBase() comes before both.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "proto/wire/message.h"

namespace kdn::node {

struct GroupMemory {
  std::uint64_t limit_bytes = 0;  // of the tightest control group
  std::uint64_t used_bytes = 0;   // in it, less what the kernel takes back when it must
};

// Reads /proc and /sys/fs/cgroup (version 1 or 2) below `root`. Nothing if no group has a limit.
[[nodiscard]] std::optional<GroupMemory> ReadGroupMemory(const std::string& root = "");

class MemoryWatch {
 public:
  static constexpr std::chrono::milliseconds kPeriod{50};
  static constexpr std::chrono::milliseconds kReleasePeriod{500};

  // `shed_percent`, 10 to 90: of what the group had left when the node was ready, the share whose
  // use makes the node refuse puts. Background moves go 10 earlier, prefetching loads 15 later, all
  // loads at 95.
  MemoryWatch(std::uint32_t shed_percent, MetricRegistry& metrics, std::string root = "");

  // The node is ready: what it takes by now it keeps.
  void SetBase();
  // Looks anew if it has not within kPeriod.
  void Sample(TimePoint now);
  [[nodiscard]] bool Sheds(wire::Priority priority) const;
  // True if something must be given back and nobody is at it: the caller does it and then calls
  // EndRelease(). At most once a kReleasePeriod: each writes a file, however little is in it.
  [[nodiscard]] bool BeginRelease(TimePoint now);
  void EndRelease() { releasing_.store(false); }
  // Of the headroom at the start, per cent; 0 where there is no limit.
  [[nodiscard]] std::uint32_t percent() const { return percent_.load(std::memory_order_relaxed); }

 private:
  void Look();

  const std::uint32_t shed_percent_;
  const std::string root_;
  Gauge& used_;
  Gauge& limit_;
  std::uint64_t base_bytes_ = 0;
  std::atomic<std::uint32_t> percent_{0};
  std::atomic<TimePoint::rep> next_{0};
  std::atomic<bool> releasing_{false};
  std::atomic<TimePoint::rep> next_release_{0};
};

}  // namespace kdn::node
