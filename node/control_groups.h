// The control groups that a process is in. Knows nothing of what their files say.
//
// Thread-safety: safe.
#pragma once

#include <functional>
#include <string>

namespace kdn::node {

enum class GroupVersion { kOne, kTwo };

// Calls `visit` with the folder, which ends in "/", of the group that has this process's memory and
// of each around it, the innermost first. Reads /proc and /sys/fs/cgroup below `root`.
void ForEachMemoryGroup(
    const std::string& root,
    const std::function<void(GroupVersion version, const std::string& folder)>& visit);

}  // namespace kdn::node
