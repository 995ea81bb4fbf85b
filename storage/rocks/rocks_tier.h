// The RocksDB tier over another file system than the machine's own, for tests of disks that fail.
#pragma once

#include <rocksdb/env.h>

#include <memory>

#include "storage/disk_tier.h"

namespace kdn::storage::rocks {

// As OpenRocksTier(). `env` outlives the tier.
[[nodiscard]] Result<std::unique_ptr<DiskTier>> OpenRocksTierOn(const DiskOptions& options,
                                                                rocksdb::Env* env);

}  // namespace kdn::storage::rocks
