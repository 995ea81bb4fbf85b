#include "node/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/limits.h"
#include "node/control_groups.h"

namespace kdn::node {

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
  ForEachMemoryGroup(root, [&](GroupVersion version, const std::string& folder) {
    // "max" is no number; version 1 writes a huge one.
    const char* file = version == GroupVersion::kTwo ? "memory.max" : "memory.limit_in_bytes";
    std::uint64_t limit = 0;
    if (std::ifstream(folder + file) >> limit) {
      memory.total_bytes = std::min(memory.total_bytes, limit);
    }
  });
  memory.available_bytes = std::min(memory.available_bytes, memory.total_bytes);
  return memory;
}

Status CheckDramSize(const NodeConfig& config, std::uint64_t bytes, const std::string& what) {
  const std::uint64_t mib = bytes / limits::kMiB;
  if (static_cast<std::uint64_t>(config.dram_mib) <= mib) return {};
  return RefuseSetting("node.dram_mib", std::to_string(config.dram_mib),
                       "at most " + std::to_string(mib) + ", " + what);
}

}  // namespace kdn::node
