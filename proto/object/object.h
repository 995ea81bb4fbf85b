// A whole object: header and segments. What a node keeps, checks and truncates without ever
// decoding a value.
//
// Thread-safety: pure functions and values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn {

// Where each segment of an object lies, when all encoded levels follow the header in order.
struct ObjectLayout {
  ObjectHeader header;
  std::array<std::uint64_t, kLevelCount> offset{};  // of each level's segment; 0: absent
  std::uint64_t size_bytes = 0;
};

// From the header at the front of `object`, which may end anywhere after it.
[[nodiscard]] Result<ObjectLayout> LayoutOf(ConstBytes object);

// What a replica acknowledges: a checksum over the header's and every index's checksum, and so over
// every byte of the object.
struct ObjectDigest {
  Checksum checksum;
  friend bool operator==(const ObjectDigest&, const ObjectDigest&) = default;
};

// Checks header, indices and every tile of a whole object; returns its digest. kDataLoss says what
// is wrong. An object cut after any of its segments verifies with the segments it has.
[[nodiscard]] Result<ObjectDigest> VerifyObject(ConstBytes object);

// Checks one segment against its header: index and, unless `index_only`, every tile.
[[nodiscard]] Status VerifySegment(const ObjectHeader& header, Level level, ConstBytes segment,
                                   bool index_only);

}  // namespace kdn
