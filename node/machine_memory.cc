#include "node/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/limits.h"

namespace kdn::node {
namespace {

// The smallest limit of a group and those around it. "max" is no number; version 1 writes a huge
// one.
void LimitByGroups(const std::string& mount, std::string group, const char* file,
                   MachineMemory& memory) {
  for (;;) {
    std::uint64_t limit = 0;
    if (std::ifstream(mount + group + "/" + file) >> limit) {
      memory.total_bytes = std::min(memory.total_bytes, limit);
    }
    if (group.empty()) break;
    group.erase(group.rfind('/'));
  }
  memory.available_bytes = std::min(memory.available_bytes, memory.total_bytes);
}

}  // namespace

std::optional<MachineMemory> ReadMachineMemory(const std::string& root) {
  MachineMemory memory;
  std::ifstream meminfo(root + "/proc/meminfo");
  std::string line;
  while (std::getline(meminfo, line)) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    words >> name >> kib;
    if (name == "MemTotal:") memory.total_bytes = kib * 1024;
    if (name == "MemAvailable:") memory.available_bytes = kib * 1024;
  }
  if (memory.total_bytes == 0 || memory.available_bytes == 0) return std::nullopt;
  // Lines are "number:controllers:/group"; version 2 names no controllers.
  std::ifstream groups(root + "/proc/self/cgroup");
  while (std::getline(groups, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group == "/" || !group.starts_with('/')) group.clear();
    if (controllers.empty()) LimitByGroups(root + "/sys/fs/cgroup", group, "memory.max", memory);
    if (controllers == "memory") {
      LimitByGroups(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", memory);
    }
  }
  return memory;
}

Status CheckDramSize(const NodeConfig& config, std::uint64_t bytes, const std::string& what) {
  const std::uint64_t mib = bytes / limits::kMiB;
  if (static_cast<std::uint64_t>(config.dram_mib) <= mib) return {};
  return RefuseSetting("node.dram_mib", std::to_string(config.dram_mib),
                       "at most " + std::to_string(mib) + ", " + what);
}

}  // namespace kdn::node
