#include "node/control_groups.h"

#include <fstream>

namespace kdn::node {

void ForEachMemoryGroup(
    const std::string& root,
    const std::function<void(GroupVersion version, const std::string& folder)>& visit) {
  const auto walk = [&](GroupVersion version, const std::string& mount, std::string group) {
    for (;;) {
      visit(version, mount + group + "/");
      if (group.empty()) break;
      group.erase(group.rfind('/'));
    }
  };
  // Lines are "number:controllers:/group"; version 2 names no controllers.
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group == "/" || !group.starts_with('/')) group.clear();
    if (controllers.empty()) walk(GroupVersion::kTwo, root + "/sys/fs/cgroup", group);
    if (controllers == "memory") walk(GroupVersion::kOne, root + "/sys/fs/cgroup/memory", group);
  }
}

}  // namespace kdn::node
