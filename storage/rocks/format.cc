#include "storage/rocks/format.h"

#include <vector>

#include "base/bytes.h"
#include "storage/rocks/records.h"

namespace kdn::storage::rocks {
namespace {

constexpr std::string_view kFormatKey = "format";

}  // namespace

Result<std::uint32_t> ReadFormat(Database& db, const std::string& folder) {
  std::string stored;
  Status got =
      db.Get(Family::kDefault, kFormatKey, [&](std::string_view value) { stored = value; });
  if (got.code() == Code::kNotFound) return 0U;
  if (!got.ok()) return std::unexpected(std::move(got));
  ByteReader in(AsBytes(stored));
  const auto version = in.Integer<std::uint32_t>();
  if (!in.AtEnd()) return Error(Code::kDataLoss, "format version of " + folder);
  if (version > kFormatVersion) {
    return Error(Code::kFailedPrecondition,
                 folder + " was written in format " + std::to_string(version) +
                     "; this version reads up to " + std::to_string(kFormatVersion));
  }
  return version;
}

Status WriteFormat(Database& db) {
  std::vector<std::byte> version;
  ByteWriter(version).Integer(kFormatVersion);
  return db.Write(/*sync=*/true, [&](Database::Batch& batch) {
    batch.Put(Family::kDefault, kFormatKey, AsText(version));
  });
}

}  // namespace kdn::storage::rocks
