// The embedded metastore: RocksDB, one column family, every write synced before it returns.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <memory>
#include <string>

#include "coordinator/metastore/metastore.h"

namespace kdn::coordinator {

[[nodiscard]] Result<std::unique_ptr<Metastore>> OpenRocksMetastore(const std::string& folder);

}  // namespace kdn::coordinator
