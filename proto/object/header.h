// The header of an object: one stored part of a chunk. Fixed size, checksummed, the same for every
// level that follows it. docs/format.md draws it.
//
// Thread-safety: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "proto/object/levels.h"
#include "proto/object/model_spec.h"
#include "proto/object/provenance.h"

namespace kdn {

inline constexpr std::size_t kObjectHeaderBytes = 384;
inline constexpr std::uint16_t kObjectFormatVersion = 1;

enum class ObjectKind : std::uint8_t { kChunk = 0, kProfile = 1, kModelSpec = 2 };

enum ObjectFlags : std::uint8_t {
  kFlagExactAlone = 1,    // `exact` stands without coarser levels
  kFlagCodedRotated = 2,  // keys carry their rotary position: decodes at first_position only
  kFlagSealed = 4,        // tiles are encrypted by the client
};

// A half-open range [first, first + count) in the model's absolute coordinates.
struct Range {
  std::uint16_t first = 0;
  std::uint16_t count = 0;

  [[nodiscard]] std::uint32_t end() const { return std::uint32_t{first} + count; }
  [[nodiscard]] bool Intersects(const Range& other) const {
    return first < other.end() && other.first < end();
  }
  [[nodiscard]] bool Contains(const Range& other) const {
    return first <= other.first && other.end() <= end();
  }
  friend bool operator==(const Range&, const Range&) = default;
};

// Which share of a chunk an object is: writers under tensor or pipeline parallelism hold one each.
struct PartShape {
  std::uint16_t number = 0;
  std::uint16_t count = 1;
  Range layers;
  Range kv_heads;

  friend bool operator==(const PartShape&, const PartShape&) = default;
};

struct ObjectHeader {
  ObjectKind kind = ObjectKind::kChunk;
  std::uint8_t flags = 0;
  TenantId tenant{};
  SecretId secret{};
  ChunkKey key;
  ChunkKey parent;      // zero: begins its chain
  ChunkKey chain_root;  // the key of the chain's first chunk
  MatchHash match_hash{};
  PutId put_id;
  ModelFingerprint model;
  ProfileId profile;  // zero: coded without one
  PartShape part;
  std::uint16_t layers_per_group = 1;  // of a tile; groups are cut at part and KV group borders
  std::uint16_t heads_per_group = 1;
  std::uint32_t token_count = 0;
  std::uint64_t first_position = 0;  // of the chunk's first token when it was prefilled
  Provenance provenance;
  DType dtype = DType::kBf16;
  LevelSet levels_encoded;
  LevelBytes level_bytes{};  // as encoded; truncation does not change the header

  friend bool operator==(const ObjectHeader&, const ObjectHeader&) = default;
};

using HeaderBytes = std::array<std::byte, kObjectHeaderBytes>;
[[nodiscard]] HeaderBytes EncodeHeader(const ObjectHeader& header);

// kDataLoss if the checksum, the magic or a field is wrong; kUnimplemented for a newer format.
// Requires nothing of `bytes`: any input gives an answer.
[[nodiscard]] Result<ObjectHeader> DecodeHeader(ConstBytes bytes);

// Bytes of header and all encoded levels.
[[nodiscard]] std::uint64_t ObjectBytes(const ObjectHeader& header);

}  // namespace kdn
