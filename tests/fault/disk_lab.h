// Bad disks for the nodes of a cluster: file systems of a few MiB that can be filled to the last
// byte, and writes that fail or take long (disk_shim.cc). All of it goes with the process.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/admin/local_cluster.h"
#include "tests/fault/disk_fault.h"

namespace kdn::fault {

// One file that all nodes' shims look at.
class FaultyDisks {
 public:
  // For nodes of the cluster in `folder`, which need not be there yet. The shim lies beside this
  // program. kUnimplemented if it does not.
  static Result<std::unique_ptr<FaultyDisks>> Make(const std::string& folder,
                                                   const std::string& program_folder);
  ~FaultyDisks();
  FaultyDisks(const FaultyDisks&) = delete;
  FaultyDisks& operator=(const FaultyDisks&) = delete;

  // For LocalClusterOptions: loopback, and nodes preloaded.
  [[nodiscard]] std::vector<admin::DaemonPlace> places(std::uint32_t nodes) const;
  // From now on.
  void Set(DiskFault fault) { *byte_ = static_cast<char>(fault); }

 private:
  FaultyDisks() = default;

  std::string folder_;
  std::string file_;
  std::string shim_;
  volatile char* byte_ = nullptr;
};

// File systems in memory, mounted at the nodes' data folders, in a mount namespace of this process.
class SmallDisks {
 public:
  // kUnimplemented without the right to mount.
  static Result<std::unique_ptr<SmallDisks>> Make(const std::string& folder, std::uint32_t nodes,
                                                  std::uint64_t bytes);
  ~SmallDisks();
  SmallDisks(const SmallDisks&) = delete;
  SmallDisks& operator=(const SmallDisks&) = delete;

  // To the last byte, with files of nobody's. They come on top of whatever is freed meanwhile.
  Status Fill();
  void Empty();

 private:
  SmallDisks() = default;

  std::vector<std::string> folders_;
};

}  // namespace kdn::fault
