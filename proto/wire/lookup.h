// Lookup: a whole chain of chunk keys in one message, the longest usable prefix with locations,
// levels and bytes in the answer. Grants nothing and pins nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/object/header.h"
#include "proto/wire/message.h"

namespace kdn::wire {

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
  std::vector<ReplicaLocation> replicas;  // at most limits::kReplicasMax, best first

  friend bool operator==(const PartLocation&, const PartLocation&) = default;
};

struct ChunkLocation {
  PutId put_id;
  Provenance provenance;
  std::uint32_t token_count = 0;
  std::vector<PartLocation> parts;  // all parts of the chunk, by number

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
  std::uint16_t chain = 0;  // which of the request's chains
  NodeMap map;              // nodes is empty if the client's version is current
  std::vector<ChunkLocation> chunks;  // of the longest usable prefix; empty: a miss

  void Encode(Buffer& out) const;
  static Result<LookupResponse> Decode(ConstBytes bytes);
};

}  // namespace kdn::wire
