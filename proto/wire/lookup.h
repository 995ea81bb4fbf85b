// Lookup: a whole chain of chunk keys in one message, the longest usable prefix with locations,
// levels and bytes in the answer. Grants nothing and pins nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/limits.h"
#include "proto/object/header.h"
#include "proto/wire/inline_list.h"
#include "proto/wire/message.h"

namespace kdn::wire {

inline constexpr std::size_t kChainsPerLookupMax = 8;

// One chain of keys per live secret of the tenant; all of equal length. The answer is for the chain
// with the longest match.
struct LookupRequest {
  RequestHead head{MessageType::kLookup};
  ProvenanceKind floor = ProvenanceKind::kUnknown;  // chunks of a lower kind end the prefix
  Level level_min = Level::kDraft;                  // chunks that lack this level end the prefix
  std::uint64_t known_map_version = 0;              // of the node map the client has; 0: none
  std::vector<std::vector<ChunkKey>> chains;

  void Encode(Buffer& out) const;
  static Result<LookupRequest> Decode(ConstBytes bytes);
};

// Where one replica of one part is.
struct ReplicaLocation {
  NodeId node{};
  LevelSet in_dram;
  LevelSet on_disk;

  friend bool operator==(const ReplicaLocation&, const ReplicaLocation&) = default;
};

struct PartLocation {
  PartShape shape;
  LevelBytes level_bytes{};
  FixedList<ReplicaLocation, limits::kReplicasMax> replicas;  // at least one, best first

  friend bool operator==(const PartLocation&, const PartLocation&) = default;
};

struct ChunkLocation {
  PutId put_id;
  Provenance provenance;
  std::uint32_t token_count = 0;
  OneOrMore<PartLocation> parts;  // all parts of the chunk, by number

  friend bool operator==(const ChunkLocation&, const ChunkLocation&) = default;
};

// A node as clients see it: one endpoint per shard; ShardOfKey() says which a key belongs to.
struct NodeEndpoints {
  NodeId node{};
  HostId host;
  std::vector<std::string> shards;

  friend bool operator==(const NodeEndpoints&, const NodeEndpoints&) = default;
};

struct NodeMap {
  std::uint64_t version = 0;
  std::vector<NodeEndpoints> nodes;  // alive ones, by id

  void Encode(ByteWriter& out) const;
  static NodeMap Decode(ByteReader& in);  // fails `in`
  friend bool operator==(const NodeMap&, const NodeMap&) = default;
};

struct LookupResponse {
  Epoch epoch{};
  std::uint16_t chain = 0;            // which of the request's chains
  NodeMap map;                        // nodes is empty if the client's version is current
  std::vector<ChunkLocation> chunks;  // of the longest usable prefix; empty: a miss

  void Encode(Buffer& out) const;
  static Result<LookupResponse> Decode(ConstBytes bytes);
};

// Appends a LookupResponse to a buffer chunk by chunk, without building one: the coordinator's hot
// path. The bytes are those of LookupResponse::Encode(). After each chunk the buffer holds a whole
// response. Thread-safety: not safe; caller synchronises.
class LookupResponseWriter {
 public:
  // Requires: `out` outlives the writer and is changed by it alone until then.
  LookupResponseWriter(Buffer& out, Epoch epoch, const NodeMap& map);

  // Which of the request's chains the answer is for; 0 unless set.
  void SetChain(std::uint16_t chain);
  // Begins the next chunk. Requires: part_count is 1 to limits::kPartsPerChunkMax, and exactly as
  // many AddPart() follow, by number.
  void BeginChunk(const PutId& put_id, const Provenance& provenance, std::uint32_t token_count,
                  std::uint16_t part_count);
  // Requires: 1 to limits::kReplicasMax replicas.
  void AddPart(const PartShape& shape, const LevelBytes& level_bytes,
               std::span<const ReplicaLocation> replicas);

  [[nodiscard]] std::uint32_t chunk_count() const { return chunk_count_; }

 private:
  Buffer& out_;
  std::size_t start_;
  std::uint32_t chunk_count_ = 0;
};

}  // namespace kdn::wire
