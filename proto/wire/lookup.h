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

// How an answer lays its chunks out. The request's version says what its sender reads: 1 is
// kPlain alone, 2 both. A coordinator that knows only version 1 answers kUnimplemented.
enum class LookupLayout : std::uint16_t {
  kPlain = 0,    // every field of every chunk
  kCompact = 1,  // of each chunk what differs from the one before
};
inline constexpr std::uint16_t kLookupVersionCompact = 2;

struct LookupRequestView;

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
  // Valid as long as this request is, unchanged.
  [[nodiscard]] LookupRequestView View() const;
};

// The same without a copy of the keys, for the coordinator's hot path.
struct LookupRequestView {
  RequestHead head{MessageType::kLookup};
  ProvenanceKind floor = ProvenanceKind::kUnknown;
  Level level_min = Level::kDraft;
  std::uint64_t known_map_version = 0;
  FixedList<std::span<const ChunkKey>, kChainsPerLookupMax> chains;

  [[nodiscard]] LookupLayout Accepts() const {
    return head.version >= kLookupVersionCompact ? LookupLayout::kCompact : LookupLayout::kPlain;
  }
  // The keys lie in `bytes`, which have to stay.
  static Result<LookupRequestView> Decode(ConstBytes bytes);
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
  LookupLayout layout = LookupLayout::kPlain;
  std::uint16_t chain = 0;            // which of the request's chains
  NodeMap map;                        // nodes is empty if the client's version is current
  std::vector<ChunkLocation> chunks;  // of the longest usable prefix; empty: a miss

  void Encode(Buffer& out) const;
  static Result<LookupResponse> Decode(ConstBytes bytes);
};

// Appends a LookupResponse to a buffer chunk by chunk, without building one: the coordinator's hot
// path. The bytes are those of LookupResponse::Encode(). Thread-safety: not safe; caller
// synchronises.
class LookupResponseWriter {
 public:
  // Requires: `out` outlives the writer and is changed by it alone until Finish().
  LookupResponseWriter(Buffer& out, Epoch epoch, const NodeMap& map, LookupLayout layout);

  // Which of the request's chains the answer is for; 0 unless set.
  void SetChain(std::uint16_t chain);
  // Appends the next chunk. Requires: parts by number, of 1 to limits::kReplicasMax replicas each;
  // `chunk` stays where and as it is until the next Add() has returned.
  void Add(const ChunkLocation& chunk);
  // Makes the buffer hold exactly the response. To be called once, last.
  void Finish();

  // Of the buffer, as Finish() would leave it.
  [[nodiscard]] std::size_t size_bytes() const { return size_; }
  [[nodiscard]] std::uint32_t chunk_count() const { return chunk_count_; }

 private:
  Buffer& out_;
  const LookupLayout layout_;
  const std::size_t start_;
  std::size_t size_ = 0;  // the buffer is larger, so that it grows rarely
  std::uint32_t chunk_count_ = 0;
  const ChunkLocation* before_;
};

}  // namespace kdn::wire
