// Valid objects of any size for tests and benchmarks: header and segments with raw tiles of
// pseudo-random bytes. What the values mean is nobody's business here; where real ones matter, use
// the codec.
//
// Thread-safety: pure functions and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "proto/object/header.h"
#include "proto/object/object.h"
#include "proto/object/segment.h"

namespace kdn::test {

struct ObjectOptions {
  // Draws the bytes, and those of key, put id and model that `header` leaves zero: the same seed
  // gives the same object, another seed another one.
  std::uint64_t seed = 1;
  // Of the whole object, exactly; raised to the least that its tiles need (one byte each).
  std::size_t size_bytes = 64 * 1024;
  // Segments are equally large. Levels as in the header's levels_encoded.
  LevelSet levels = Level::kExact;
  // Identity, part, groups, provenance and the like; level_bytes and levels_encoded are filled in.
  // Zero chain_root becomes the key if there is no parent.
  ObjectHeader header = DefaultHeader();

  // 4 layers, 4 KV heads, tiles of 2 layers and 2 heads, 256 tokens, exact provenance, tenant 1.
  [[nodiscard]] static ObjectHeader DefaultHeader();
};

struct TestObject {
  ObjectHeader header;
  std::vector<std::byte> bytes;
  ObjectDigest digest;
};

[[nodiscard]] TestObject MakeObject(const ObjectOptions& options = {});

// The bytes of one segment within `object`. Requires: the level is encoded.
[[nodiscard]] ConstBytes SegmentOf(const TestObject& object, Level level);

}  // namespace kdn::test
