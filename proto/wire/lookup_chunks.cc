#include "proto/wire/lookup_chunks.h"

#include <bit>
#include <cstring>

#include "base/limits.h"
#include "base/same_bytes.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kChunkBytes = 28;
constexpr std::size_t kPartBytes = 32;
constexpr std::size_t kReplicaBytes = 8;
constexpr std::size_t kCompactShapeBytes = 8;
constexpr std::size_t kCompactReplicaBytes = 6;
static_assert(kPlainChunkBytesMin == kChunkBytes + kPartBytes + kReplicaBytes);

// What of a compact chunk is as in the chunk before, and not there again.
enum Same : unsigned {
  kSamePutId = 1,
  kSameOrigin = 2,  // provenance and token count
  kSameShapes = 4,  // and so the number of parts
  kSameLevelBytes = 8,
  kSameReplicas = 16,
  kSameAll = 31,
};

// A bounds check per record and a store or load per field: a coordinator core is to answer ten
// million keys a second.
template <class T>
void Store(std::byte* at, T value) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &value, sizeof(T));
}
template <class T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

void StoreShape(std::byte* at, const PartShape& shape) {
  Store(at, shape.number);
  Store(at + 2, shape.count);
  Store(at + 4, shape.layers.first);
  Store(at + 6, shape.layers.count);
  Store(at + 8, shape.kv_heads.first);
  Store(at + 10, shape.kv_heads.count);
}

PartShape LoadShape(const std::byte* at) {
  return {.number = Load<std::uint16_t>(at),
          .count = Load<std::uint16_t>(at + 2),
          .layers = {Load<std::uint16_t>(at + 4), Load<std::uint16_t>(at + 6)},
          .kv_heads = {Load<std::uint16_t>(at + 8), Load<std::uint16_t>(at + 10)}};
}

bool ShapeHolds(const PartShape& shape, std::size_t number, std::size_t count) {
  return shape.number == number && shape.count == count &&
         shape.layers.end() <= limits::kLayersMax && shape.kv_heads.end() <= limits::kKvHeadsMax;
}

bool LoadReplica(const std::byte* at, ReplicaLocation& replica) {
  replica.node = static_cast<NodeId>(Load<std::uint32_t>(at));
  replica.in_dram = LevelSet(Load<std::uint8_t>(at + 4));
  replica.on_disk = LevelSet(Load<std::uint8_t>(at + 5));
  return replica.in_dram.Valid() && replica.on_disk.Valid() && Load<std::uint16_t>(at + 6) == 0;
}

// Reads the part of this number at the front of `in` and drops it from there.
bool LoadPart(ConstBytes& in, std::size_t number, std::size_t count, PartLocation& part) {
  if (in.size() < kPartBytes) return false;
  const std::byte* at = in.data();
  part.shape = LoadShape(at);
  if (!ShapeHolds(part.shape, number, count)) return false;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    part.level_bytes[level] = Load<std::uint32_t>(at + 12 + 4 * level);
    if (part.level_bytes[level] > limits::kSegmentBytesMax) return false;
  }
  // The replica count's upper bytes are reserved, so it is read as one number.
  const auto replica_count = Load<std::uint32_t>(at + 28);
  if (replica_count == 0 || replica_count > limits::kReplicasMax) return false;
  in = in.subspan(kPartBytes);
  if (in.size() < replica_count * kReplicaBytes) return false;
  for (std::uint32_t i = 0; i < replica_count; ++i) {
    ReplicaLocation replica;
    if (!LoadReplica(in.data() + i * kReplicaBytes, replica)) return false;
    part.replicas.push_back(replica);
  }
  in = in.subspan(replica_count * kReplicaBytes);
  return true;
}

unsigned SameOfPart(const PartLocation& a, const PartLocation& b) {
  unsigned same = 0;
  if (a.shape == b.shape) same |= kSameShapes;
  if (std::memcmp(&a.level_bytes, &b.level_bytes, sizeof(LevelBytes)) == 0) same |= kSameLevelBytes;
  if (a.replicas == b.replicas) same |= kSameReplicas;
  return same;
}

unsigned SameFields(const ChunkLocation& a, const ChunkLocation& b) {
  unsigned same = 0;
  if (SameBytes(a.put_id, b.put_id)) same |= kSamePutId;
  if (a.provenance == b.provenance && a.token_count == b.token_count) same |= kSameOrigin;
  if (a.parts.size() != b.parts.size()) return same;
  unsigned same_parts = kSameShapes | kSameLevelBytes | kSameReplicas;
  const PartLocation* of_b = b.parts.data();
  for (const PartLocation& part : a.parts) same_parts &= SameOfPart(part, *of_b++);
  return same | same_parts;
}

// Takes `size_bytes` from the front of `in`; nullptr if it has fewer.
const std::byte* Take(ConstBytes& in, std::size_t size_bytes) {
  if (in.size() < size_bytes) return nullptr;
  const std::byte* at = in.data();
  in = in.subspan(size_bytes);
  return at;
}

bool LoadOrigin(ConstBytes& in, ChunkLocation& chunk) {
  const std::byte* at = Take(in, 8);
  if (at == nullptr) return false;
  const Result<Provenance> provenance = UnpackProvenance(Load<std::uint32_t>(at));
  if (!provenance) return false;
  chunk.provenance = *provenance;
  chunk.token_count = Load<std::uint32_t>(at + 4);
  return chunk.token_count <= limits::kTokensPerChunkMax;
}

// part count (2) ‖ per part: layers (4) ‖ KV heads (4)
bool LoadShapes(ConstBytes& in, ChunkLocation& chunk) {
  const std::byte* at = Take(in, 2);
  if (at == nullptr) return false;
  const auto count = Load<std::uint16_t>(at);
  if (count == 0 || count > limits::kPartsPerChunkMax) return false;
  at = Take(in, count * kCompactShapeBytes);
  if (at == nullptr) return false;
  chunk.parts.resize(count);
  for (std::uint16_t i = 0; i < count; ++i, at += kCompactShapeBytes) {
    PartShape& shape = chunk.parts[i].shape;
    shape = {.number = i,
             .count = count,
             .layers = {Load<std::uint16_t>(at), Load<std::uint16_t>(at + 2)},
             .kv_heads = {Load<std::uint16_t>(at + 4), Load<std::uint16_t>(at + 6)}};
    if (!ShapeHolds(shape, i, count)) return false;
  }
  return true;
}

bool LoadLevelBytes(ConstBytes& in, ChunkLocation& chunk) {
  const std::byte* at = Take(in, chunk.parts.size() * sizeof(LevelBytes));
  if (at == nullptr) return false;
  for (PartLocation& part : chunk.parts) {
    std::memcpy(part.level_bytes.data(), at, sizeof(LevelBytes));
    at += sizeof(LevelBytes);
    for (const std::uint32_t bytes : part.level_bytes) {
      if (bytes > limits::kSegmentBytesMax) return false;
    }
  }
  return true;
}

// per part: replica count (1) ‖ per replica: node (4) ‖ levels in dram (1) ‖ on disk (1)
bool LoadReplicas(ConstBytes& in, ChunkLocation& chunk) {
  for (PartLocation& part : chunk.parts) {
    const std::byte* at = Take(in, 1);
    if (at == nullptr) return false;
    const auto count = Load<std::uint8_t>(at);
    if (count == 0 || count > limits::kReplicasMax) return false;
    at = Take(in, count * kCompactReplicaBytes);
    if (at == nullptr) return false;
    for (std::uint8_t i = 0; i < count; ++i, at += kCompactReplicaBytes) {
      const ReplicaLocation replica{Load<NodeId>(at), LevelSet(Load<std::uint8_t>(at + 4)),
                                    LevelSet(Load<std::uint8_t>(at + 5))};
      if (!replica.in_dram.Valid() || !replica.on_disk.Valid()) return false;
      part.replicas.push_back(replica);
    }
  }
  return true;
}

template <class Member>
void CopyParts(const ChunkLocation& from, ChunkLocation& to, Member PartLocation::* member) {
  for (std::size_t i = 0; i < to.parts.size(); ++i) to.parts[i].*member = from.parts[i].*member;
}

}  // namespace

const ChunkLocation kNoChunk{};

std::size_t ChunkBytesMax(std::size_t part_count) {
  // The compact layout's extra byte of flags is less than what its parts save.
  return kChunkBytes + part_count * (kPartBytes + limits::kReplicasMax * kReplicaBytes);
}

// put id (16) ‖ provenance (4) ‖ token count (4) ‖ part count (2) ‖ 0 (2) ‖ per part: part (12) ‖
// level bytes (16) ‖ replica count (1) ‖ 0 (3) ‖ per replica: node (4) ‖ levels in dram (1) ‖ on
// disk (1) ‖ 0 (2)
std::byte* StorePlain(std::byte* at, const ChunkLocation& chunk) {
  std::memcpy(at, chunk.put_id.bytes.data(), PutId::kSize);
  Store(at + 16, PackProvenance(chunk.provenance));
  Store(at + 20, chunk.token_count);
  Store(at + 24, static_cast<std::uint32_t>(chunk.parts.size()));
  at += kChunkBytes;
  for (const PartLocation& part : chunk.parts) {
    StoreShape(at, part.shape);
    std::memcpy(at + 12, part.level_bytes.data(), sizeof(LevelBytes));
    Store(at + 28, static_cast<std::uint32_t>(part.replicas.size()));
    at += kPartBytes;
    for (const ReplicaLocation& replica : part.replicas) {
      Store(at, replica.node);
      Store(at + 4, replica.in_dram.bits());
      Store(at + 5, replica.on_disk.bits());
      Store(at + 6, std::uint16_t{0});
      at += kReplicaBytes;
    }
  }
  return at;
}

// fields that are the same (1) ‖ put id (16) ‖ provenance (4) ‖ token count (4) ‖ shapes ‖ level
// bytes of each part (16) ‖ replicas; of these, what is not the same
std::byte* StoreCompact(std::byte* at, const ChunkLocation& chunk, const ChunkLocation& before) {
  const unsigned same = SameFields(chunk, before);
  *at++ = static_cast<std::byte>(same);
  if ((same & kSamePutId) == 0) {
    std::memcpy(at, chunk.put_id.bytes.data(), PutId::kSize);
    at += PutId::kSize;
  }
  if ((same & kSameOrigin) == 0) {
    Store(at, PackProvenance(chunk.provenance));
    Store(at + 4, chunk.token_count);
    at += 8;
  }
  if ((same & kSameShapes) == 0) {
    Store(at, static_cast<std::uint16_t>(chunk.parts.size()));
    at += 2;
    for (const PartLocation& part : chunk.parts) {
      Store(at, part.shape.layers);
      Store(at + 4, part.shape.kv_heads);
      at += kCompactShapeBytes;
    }
  }
  if ((same & kSameLevelBytes) == 0) {
    for (const PartLocation& part : chunk.parts) {
      Store(at, part.level_bytes);
      at += sizeof(LevelBytes);
    }
  }
  if ((same & kSameReplicas) == 0) {
    for (const PartLocation& part : chunk.parts) {
      *at++ = static_cast<std::byte>(part.replicas.size());
      for (const ReplicaLocation& replica : part.replicas) {
        Store(at, replica.node);
        Store(at + 4, replica.in_dram);
        Store(at + 5, replica.on_disk);
        at += kCompactReplicaBytes;
      }
    }
  }
  return at;
}

bool LoadPlain(ConstBytes& in, ChunkLocation& chunk) {
  if (in.size() < kChunkBytes) return false;
  const std::byte* at = in.data();
  std::memcpy(chunk.put_id.bytes.data(), at, PutId::kSize);
  const Result<Provenance> provenance = UnpackProvenance(Load<std::uint32_t>(at + 16));
  chunk.token_count = Load<std::uint32_t>(at + 20);
  const auto part_count = Load<std::uint32_t>(at + 24);
  if (!provenance || chunk.token_count > limits::kTokensPerChunkMax) return false;
  if (part_count == 0 || part_count > limits::kPartsPerChunkMax) return false;
  chunk.provenance = *provenance;
  in = in.subspan(kChunkBytes);
  if (in.size() < part_count * (kPartBytes + kReplicaBytes)) return false;
  chunk.parts.resize(part_count);
  for (std::uint32_t i = 0; i < part_count; ++i) {
    if (!LoadPart(in, i, part_count, chunk.parts[i])) return false;
  }
  return true;
}

bool LoadCompact(ConstBytes& in, const ChunkLocation& before, ChunkLocation& chunk) {
  const std::byte* at = Take(in, 1);
  if (at == nullptr) return false;
  const auto same = static_cast<unsigned>(*at);
  if (same > kSameAll) return false;
  if ((same & kSamePutId) != 0) {
    chunk.put_id = before.put_id;
  } else if ((at = Take(in, PutId::kSize)) != nullptr) {
    std::memcpy(chunk.put_id.bytes.data(), at, PutId::kSize);
  } else {
    return false;
  }
  if ((same & kSameOrigin) != 0) {
    chunk.provenance = before.provenance;
    chunk.token_count = before.token_count;
  } else if (!LoadOrigin(in, chunk)) {
    return false;
  }
  if ((same & kSameShapes) != 0) {
    if (before.parts.empty()) return false;
    chunk.parts.resize(before.parts.size());
    CopyParts(before, chunk, &PartLocation::shape);
  } else if (!LoadShapes(in, chunk)) {
    return false;
  }
  const bool as_many = chunk.parts.size() == before.parts.size();
  if (!as_many && (same & (kSameLevelBytes | kSameReplicas)) != 0) return false;
  if ((same & kSameLevelBytes) != 0) {
    CopyParts(before, chunk, &PartLocation::level_bytes);
  } else if (!LoadLevelBytes(in, chunk)) {
    return false;
  }
  if ((same & kSameReplicas) != 0) {
    CopyParts(before, chunk, &PartLocation::replicas);
  } else if (!LoadReplicas(in, chunk)) {
    return false;
  }
  // A field that is there although it is the same was not written by StoreCompact().
  return same == kSameAll || same == SameFields(chunk, before);
}

}  // namespace kdn::wire
