// How much memory this process may take: what the machine has, and what its control groups leave of
// it, be it a service's, a container's or a user's. The DRAM tier is touched at start: a size that
// is not there would end the process, or another one, instead of the start.
//
// Thread-safety: safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "node/config.h"

namespace kdn::node {

struct MachineMemory {
  std::uint64_t total_bytes = 0;      // that may be taken in all
  std::uint64_t available_bytes = 0;  // that may be taken now, by the kernel's estimate
};

// Reads /proc and /sys/fs/cgroup (version 1 or 2) below `root`. Nothing if the kernel does not say.
[[nodiscard]] std::optional<MachineMemory> ReadMachineMemory(const std::string& root = "");

// kInvalidArgument if node.dram_mib is more than `bytes`, of which `what` says what they are.
[[nodiscard]] Status CheckDramSize(const NodeConfig& config, std::uint64_t bytes,
                                   const std::string& what);

}  // namespace kdn::node
