#include "proto/object/header.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/limits.h"
#include "proto/object/checksum.h"
#include "proto/object/segment.h"

namespace kdn {
namespace {

constexpr std::uint64_t kMagic = 0x314A424F'4E444BABU;  // "\xABKDNOBJ1"
constexpr std::size_t kReservedBytes = 108;
constexpr std::size_t kCheckedBytes = kObjectHeaderBytes - Checksum::kSize;
constexpr std::uint8_t kAllFlags = kFlagExactAlone | kFlagCodedRotated | kFlagSealed;

void WriteRange(const Range& range, ByteWriter& out) {
  out.Integer(range.first);
  out.Integer(range.count);
}

Range ReadRange(ByteReader& in) {
  Range range;
  range.first = in.Integer<std::uint16_t>();
  range.count = in.Integer<std::uint16_t>();
  return range;
}

bool RangeIsWithin(const Range& range, std::uint32_t end_max) {
  return range.count > 0 && range.end() <= end_max;
}

bool PartIsValid(const ObjectHeader& header) {
  const PartShape& part = header.part;
  return part.count > 0 && part.count <= limits::kPartsPerChunkMax && part.number < part.count &&
         RangeIsWithin(part.layers, limits::kLayersMax) &&
         RangeIsWithin(part.kv_heads, limits::kKvHeadsMax) && header.layers_per_group > 0 &&
         header.layers_per_group <= limits::kLayersMax && header.heads_per_group > 0 &&
         header.heads_per_group <= limits::kKvHeadsMax;
}

bool LevelsAreValid(const ObjectHeader& header) {
  const LevelSet levels = header.levels_encoded;
  if (levels.empty() || !levels.Valid()) return false;
  // `exact` refines nothing exactly when it is alone.
  const bool exact_alone = (header.flags & kFlagExactAlone) != 0;
  if (exact_alone != (levels == LevelSet(Level::kExact))) return false;
  constexpr std::size_t kSegmentBytesMin = kIndexHeadBytes + kTileEntryBytes + kIndexTailBytes;
  for (const LevelInfo& info : Levels()) {
    const std::uint32_t bytes = header.level_bytes[static_cast<std::size_t>(info.level)];
    if (!levels.Has(info.level)) {
      if (bytes != 0) return false;
    } else if (bytes < kSegmentBytesMin || bytes > limits::kSegmentBytesMax) {
      return false;
    }
  }
  return ObjectBytes(header) <= limits::kObjectBytesMax;
}

bool TokensAreValid(const ObjectHeader& header) {
  const bool enough = header.kind != ObjectKind::kChunk || header.token_count > 0;
  return enough && header.token_count <= limits::kTokensPerChunkMax &&
         header.first_position <= std::numeric_limits<std::uint32_t>::max();
}

void WriteFields(const ObjectHeader& header, ByteWriter& out) {
  out.Integer(kMagic);
  out.Integer(kObjectFormatVersion);
  out.Integer(header.kind);
  out.Integer(header.flags);
  out.Integer(header.dtype);
  out.Integer(header.levels_encoded.bits());
  out.Zeros(2);
  out.Integer(header.tenant);
  out.Integer(header.secret);
  out.Integer(PackProvenance(header.provenance));
  out.Id(header.key);
  out.Id(header.parent);
  out.Id(header.chain_root);
  out.Integer(header.match_hash);
  out.Integer(header.first_position);
  out.Id(header.put_id);
  out.Id(header.model);
  out.Id(header.profile);
  out.Integer(header.part.number);
  out.Integer(header.part.count);
  WriteRange(header.part.layers, out);
  WriteRange(header.part.kv_heads, out);
  out.Integer(header.layers_per_group);
  out.Integer(header.heads_per_group);
  out.Integer(header.token_count);
  for (const std::uint32_t bytes : header.level_bytes) out.Integer(bytes);
  out.Zeros(kReservedBytes);
}

// Reads what WriteFields() writes after magic and version. Fails `in` on what is out of bounds.
ObjectHeader ReadFields(ByteReader& in) {
  ObjectHeader header;
  header.kind = in.Integer<ObjectKind>();
  header.flags = in.Integer<std::uint8_t>();
  header.dtype = in.Integer<DType>();
  header.levels_encoded = LevelSet(in.Integer<std::uint8_t>());
  in.Zeros(2);
  header.tenant = in.Integer<TenantId>();
  header.secret = in.Integer<SecretId>();
  const Result<Provenance> provenance = UnpackProvenance(in.Integer<std::uint32_t>());
  header.key = in.OpaqueId<ChunkKey>();
  header.parent = in.OpaqueId<ChunkKey>();
  header.chain_root = in.OpaqueId<ChunkKey>();
  header.match_hash = in.Integer<MatchHash>();
  header.first_position = in.Integer<std::uint64_t>();
  header.put_id = in.OpaqueId<PutId>();
  header.model = in.OpaqueId<ModelFingerprint>();
  header.profile = in.OpaqueId<ProfileId>();
  header.part.number = in.Integer<std::uint16_t>();
  header.part.count = in.Integer<std::uint16_t>();
  header.part.layers = ReadRange(in);
  header.part.kv_heads = ReadRange(in);
  header.layers_per_group = in.Integer<std::uint16_t>();
  header.heads_per_group = in.Integer<std::uint16_t>();
  header.token_count = in.Integer<std::uint32_t>();
  for (std::uint32_t& bytes : header.level_bytes) bytes = in.Integer<std::uint32_t>();
  in.Zeros(kReservedBytes);

  if (provenance) {
    header.provenance = *provenance;
  } else {
    in.Fail();
  }
  if (header.kind > ObjectKind::kModelSpec || header.dtype > DType::kFp8E5M2 ||
      (header.flags & ~kAllFlags) != 0) {
    in.Fail();
  }
  return header;
}

}  // namespace

HeaderBytes EncodeHeader(const ObjectHeader& header) {
  std::vector<std::byte> bytes;
  bytes.reserve(kObjectHeaderBytes);
  ByteWriter out(bytes);
  WriteFields(header, out);
  out.Id(ChecksumOf(bytes));
  HeaderBytes encoded;
  std::copy(bytes.begin(), bytes.end(), encoded.begin());
  return encoded;
}

Result<ObjectHeader> DecodeHeader(ConstBytes bytes) {
  if (bytes.size() < kObjectHeaderBytes) return Error(Code::kDataLoss, "header is cut");
  ByteReader in(bytes.first(kCheckedBytes));
  if (in.Integer<std::uint64_t>() != kMagic) return Error(Code::kDataLoss, "no object");
  const auto version = in.Integer<std::uint16_t>();
  // Before the checksum: a newer format may keep it elsewhere.
  if (version > kObjectFormatVersion) {
    return Error(Code::kUnimplemented, "object format " + std::to_string(version));
  }
  ByteReader tail(bytes.subspan(kCheckedBytes, Checksum::kSize));
  if (tail.OpaqueId<Checksum>() != ChecksumOf(bytes.first(kCheckedBytes))) {
    return Error(Code::kDataLoss, "header checksum");
  }
  const ObjectHeader header = ReadFields(in);
  if (!in.AtEnd() || version != kObjectFormatVersion) {
    return Error(Code::kDataLoss, "header field out of bounds");
  }
  if (!PartIsValid(header)) return Error(Code::kDataLoss, "header names no valid part");
  if (!LevelsAreValid(header)) return Error(Code::kDataLoss, "header names no valid levels");
  if (!TokensAreValid(header)) return Error(Code::kDataLoss, "header names no valid tokens");
  return header;
}

std::uint64_t ObjectBytes(const ObjectHeader& header) {
  std::uint64_t total = kObjectHeaderBytes;
  for (const std::uint32_t bytes : header.level_bytes) total += bytes;
  return total;
}

}  // namespace kdn
