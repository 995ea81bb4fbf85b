#include "node/memory_watch.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "node/control_groups.h"

namespace kdn::node {
namespace {

struct Files {
  const char* limit;
  const char* used;
  // Of memory.stat: what is cached of files, and of that what cannot be taken back at once.
  std::vector<std::string> cached;
  std::vector<std::string> kept;
};

const Files kVersion1{"memory.limit_in_bytes",
                      "memory.usage_in_bytes",
                      {"total_active_file", "total_inactive_file"},
                      {"total_dirty", "total_writeback"}};
const Files kVersion2{"memory.max",
                      "memory.current",
                      {"active_file", "inactive_file"},
                      {"file_dirty", "file_writeback"}};

std::optional<std::uint64_t> ReadNumber(const std::string& path) {
  std::uint64_t number = 0;
  if (std::ifstream(path) >> number) return number;
  return std::nullopt;  // no such file, or "max"
}

std::uint64_t Reclaimable(const std::string& path, const Files& files) {
  std::map<std::string, std::uint64_t> stat;
  std::ifstream file(path);
  std::string name;
  for (std::uint64_t bytes = 0; file >> name >> bytes;) stat[name] = bytes;
  std::uint64_t cached = 0;
  std::uint64_t kept = 0;
  for (const std::string& field : files.cached) cached += stat[field];
  for (const std::string& field : files.kept) kept += stat[field];
  return cached - std::min(cached, kept);
}

// The group in `folder`, if it has less left than the tightest so far.
void TakeTightest(const std::string& folder, const Files& files,
                  std::optional<GroupMemory>& tightest) {
  constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;  // version 1 writes a huge number
  const auto limit = ReadNumber(folder + files.limit);
  const auto used = ReadNumber(folder + files.used);
  if (!limit || !used || *limit >= kNoLimit) return;
  const std::uint64_t held = *used - std::min(*used, Reclaimable(folder + "memory.stat", files));
  const GroupMemory memory{*limit, held};
  const auto left = [](const GroupMemory& m) {
    return m.limit_bytes - std::min(m.limit_bytes, m.used_bytes);
  };
  if (!tightest || left(memory) < left(*tightest)) tightest = memory;
}

// What the process itself has, where no group says what it holds.
std::uint64_t OwnBytes(const std::string& root) {
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  std::ifstream(root + "/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::optional<GroupMemory> ReadGroupMemory(const std::string& root) {
  std::optional<GroupMemory> tightest;
  ForEachMemoryGroup(root, [&](GroupVersion version, const std::string& folder) {
    TakeTightest(folder, version == GroupVersion::kTwo ? kVersion2 : kVersion1, tightest);
  });
  return tightest;
}

MemoryWatch::MemoryWatch(std::uint32_t shed_percent, MetricRegistry& metrics, std::string root)
    : shed_percent_(shed_percent),
      root_(std::move(root)),
      used_(metrics.GaugeOf("kdn_node_memory_bytes",
                            "Memory in use in the node's control group, less cached files")),
      limit_(metrics.GaugeOf("kdn_node_memory_limit_bytes",
                             "Memory limit of the node's control group; 0: none")) {}

void MemoryWatch::SetBase() {
  const auto memory = ReadGroupMemory(root_);
  // A limit may also come while the node runs.
  base_bytes_ = memory ? memory->used_bytes : OwnBytes(root_);
  Look();
}

void MemoryWatch::Sample(TimePoint now) {
  TimePoint::rep next = next_.load(std::memory_order_relaxed);
  const TimePoint::rep at = now.time_since_epoch().count();
  if (at < next) return;
  // One of the shards looks; the others go on.
  if (next_.compare_exchange_strong(next, at + Duration(kPeriod).count())) Look();
}

void MemoryWatch::Look() {
  const auto memory = ReadGroupMemory(root_);
  limit_.Set(memory ? static_cast<std::int64_t>(memory->limit_bytes) : 0);
  used_.Set(memory ? static_cast<std::int64_t>(memory->used_bytes) : 0);
  std::uint32_t percent = 0;
  if (memory && memory->used_bytes > base_bytes_) {
    const std::uint64_t headroom = std::max<std::uint64_t>(
        memory->limit_bytes - std::min(memory->limit_bytes, base_bytes_), 1);
    const std::uint64_t grown = memory->used_bytes - base_bytes_;
    percent = static_cast<std::uint32_t>(std::min<std::uint64_t>(grown * 100 / headroom, 100));
  }
  percent_.store(percent, std::memory_order_relaxed);
}

bool MemoryWatch::BeginRelease(TimePoint now) {
  const TimePoint::rep at = now.time_since_epoch().count();
  if (!Sheds(wire::Priority::kBackground) || at < next_release_.load()) return false;
  if (releasing_.exchange(true)) return false;
  next_release_.store(at + Duration(kReleasePeriod).count());
  return true;
}

bool MemoryWatch::Sheds(wire::Priority priority) const {
  const std::uint32_t used = percent();
  switch (priority) {
    case wire::Priority::kBackground:
      return used > 0 && used + 10 >= shed_percent_;
    case wire::Priority::kPut:
      return used >= shed_percent_;
    case wire::Priority::kPrefetch:
      return used >= std::min(shed_percent_ + 15, 95U);
    case wire::Priority::kUsual:
    case wire::Priority::kLoad:
      break;
  }
  return used >= 95;
}

}  // namespace kdn::node
