// Makes a metastore out of a backup, while no coordinator runs.
//
// Thread-safety: pure functions; they block on the disk.
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/config.h"

namespace kdn::coordinator {

struct Restored {
  ClusterId cluster;
  Epoch backup_epoch{};  // that the backup was written in
  Epoch next_epoch{};    // that the next start of the coordinator begins
  std::uint64_t records = 0;
  std::string replaced;  // folder in which what was there before is kept; empty: nothing was
};

// Reads the backup, all of it before anything is changed, and puts a metastore with its records
// where config.data_dir has its own. The next reign's epoch is above that of the backup, of the
// metastore that was there, and `epoch_min`: nodes obey no coordinator of an epoch below one that
// they have seen, and what they have seen since the backup is not in it. kFailedPrecondition if a
// coordinator runs there; kAlreadyExists, unless `replace`, if hard state is there; kDataLoss,
// kInvalidArgument or kUnimplemented for what is no whole backup of a version that is known. On
// failure what was there is still there.
[[nodiscard]] Result<Restored> RestoreBackup(const CoordinatorConfig& config,
                                             const std::string& file, bool replace,
                                             Epoch epoch_min);

// What RestoreBackup() is given when nobody says better: seconds since 1970. Reigns do not begin
// once a second for long, so every epoch that was ever used lies below; and a second restore of the
// same backup begins above the first.
[[nodiscard]] Epoch EpochOfNow();

}  // namespace kdn::coordinator
