// The little that a node keeps for good beside its objects: who it is, which cluster it belongs to,
// the highest epoch it has obeyed. In the disk tier where there is one, else in small files.
//
// Calls block on the disk. Thread-safety: safe.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "storage/disk_tier.h"

namespace kdn::node {

class LocalState {
 public:
  // `disk` may be null; it outlives this object. `folder` exists.
  LocalState(storage::DiskTier* disk, std::string folder)
      : disk_(disk), folder_(std::move(folder)) {}

  // This node's own id: drawn and made durable at the first call.
  [[nodiscard]] Result<PeerId> Uuid(Random& random);
  // Zero if none was kept yet.
  [[nodiscard]] Result<ClusterId> Cluster();
  [[nodiscard]] Status SetCluster(const ClusterId& cluster);
  // 0 if none was kept yet.
  [[nodiscard]] Result<Epoch> EpochSeen();
  // Keeps the higher of `epoch` and what was kept; durable when it returns.
  [[nodiscard]] Status RaiseEpoch(Epoch epoch);

 private:
  [[nodiscard]] Result<std::vector<std::byte>> Get(std::string_view name);
  [[nodiscard]] Status Put(std::string_view name, ConstBytes value);

  storage::DiskTier* disk_;
  const std::string folder_;
  std::mutex mutex_;  // one RaiseEpoch() at a time
};

}  // namespace kdn::node
