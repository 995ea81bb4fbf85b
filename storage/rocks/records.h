// How objects lie in RocksDB.
//
//   column family   key                                              value
//   objects         name                                             record (below)
//   draft ... exact name ‖ slice number (4 bytes, big-endian)        slice of the segment
//   default         "format"                                         version, 4 bytes
//                   "value/" ‖ name                                  as put
//
//   name   = tenant (8, big-endian) ‖ chunk key (32) ‖ part (2, big-endian) ‖ put id (16)
//   record = levels present (1) ‖ zeros (7) ‖ header (384) ‖ XXH3-128 over name and all before
//
// The record is the commit mark: what has none is not there. A segment is cut into slices of 1 MiB,
// the last one shorter, wherever its tiles lie: a slice is read as a whole, so this bounds what a
// small read costs, and at 1 MiB RocksDB moves values at nine tenths of its best speed.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/object/header.h"
#include "storage/object_store.h"

namespace kdn::storage::rocks {

inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::size_t kSliceBytes = 1024 * 1024;
inline constexpr std::size_t kNameBytes = 8 + 32 + 2 + 16;

[[nodiscard]] std::string NameKey(const ObjectId& id);
// Makes `key`, which begins with a NameKey(), the key of that object's slice.
void SetSlice(std::string& key, std::uint32_t slice);
// kDataLoss for anything but a NameKey().
[[nodiscard]] Result<ObjectId> ParseNameKey(std::string_view key);

[[nodiscard]] inline std::uint32_t SliceCount(std::size_t segment_bytes) {
  return static_cast<std::uint32_t>((segment_bytes + kSliceBytes - 1) / kSliceBytes);
}

struct ObjectRecord {
  LevelSet levels;  // present, a subset of those encoded
  HeaderBytes header;
};
[[nodiscard]] std::string EncodeRecord(std::string_view name, const ObjectRecord& record);

struct DecodedRecord {
  LevelSet levels;
  ObjectHeader header;
};
// kDataLoss if it is not what EncodeRecord() wrote under this name, or its header names another
// object.
[[nodiscard]] Result<DecodedRecord> DecodeRecord(std::string_view name, std::string_view value);

}  // namespace kdn::storage::rocks
