// The mark that says by which version's rules a tier was written.
//
// Thread-safety: pure functions over a database.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "storage/rocks/database.h"

namespace kdn::storage::rocks {

// 0 for a database without a mark: a new one. kFailedPrecondition for a version that this build
// does not know, kDataLoss for a mark that is none.
[[nodiscard]] Result<std::uint32_t> ReadFormat(Database& db, const std::string& folder);
[[nodiscard]] Status WriteFormat(Database& db);

}  // namespace kdn::storage::rocks
