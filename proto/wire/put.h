// Storing, in two phases: PutStart names every part and returns tickets; PutPiece carries bytes to
// the first replica, which forwards them to the next as they arrive; PutCommit tells the
// coordinator what each replica acknowledged, and after the last part the nodes make the objects
// visible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/object/header.h"
#include "proto/object/object.h"
#include "proto/wire/lookup.h"
#include "proto/wire/message.h"

namespace kdn::wire {

struct PutStartRequest {
  struct Chunk {
    ChunkKey key;
    ChunkKey parent;
    std::uint32_t token_count = 0;
    std::uint64_t object_bytes_max = 0;  // of each part's object
  };
  RequestHead head{MessageType::kPutStart};
  ModelFingerprint model;
  Provenance provenance;
  std::uint16_t part_count = 1;
  std::uint8_t replicas = 0;  // 0: the cluster's default
  std::uint64_t known_map_version = 0;
  std::vector<Chunk> chunks;  // a chain, in order

  void Encode(Buffer& out) const;
  static Result<PutStartRequest> Decode(ConstBytes bytes);
};

enum class PutVerdict : std::uint8_t {
  kStore = 0,    // covered by one of the tickets
  kPresent = 1,  // stored already, at this provenance or better
  kBusy = 2,     // another put of this key is under way
  kRefused = 3,  // no room, no node, or over quota
};

// What a writer needs to know of a ticket, beside the opaque bytes that it hands on.
struct PutGrant {
  PutId put_id;               // of every object stored under it
  std::vector<NodeId> nodes;  // first replica first; PutPieceRequest::hop counts in it
  Buffer ticket;              // Ticket, sealed: for nodes and coordinator only
  std::uint8_t replicas = 0;  // wanted; more than nodes if the cluster has too few of them

  friend bool operator==(const PutGrant&, const PutGrant&) = default;
};

inline constexpr std::uint16_t kNoGrant = 0xFFFF;

struct PutStartResponse {
  NodeMap map;                          // nodes is empty if the client's version is current
  std::vector<PutVerdict> verdicts;     // one per chunk
  std::vector<std::uint16_t> grant_of;  // one per chunk: index into grants, or kNoGrant
  std::vector<PutGrant> grants;

  void Encode(Buffer& out) const;
  static Result<PutStartResponse> Decode(ConstBytes bytes);
};

// Bulk: bytes [offset, offset + size) of the object. Idempotent.
struct PutPieceRequest {
  RequestHead head{MessageType::kPutPiece};
  Buffer ticket;
  ChunkKey key;
  std::uint16_t part = 0;
  std::uint8_t hop = 0;  // index of the receiver among the ticket's nodes
  std::uint64_t object_bytes = 0;
  std::uint64_t offset = 0;
  std::uint32_t size_bytes = 0;

  void Encode(Buffer& out) const;
  static Result<PutPieceRequest> Decode(ConstBytes bytes);
};

// Which replicas have the whole, verified object by now: those at which this piece was the last.
struct ReplicaAck {
  NodeId node{};
  ObjectDigest digest;

  friend bool operator==(const ReplicaAck&, const ReplicaAck&) = default;
};

// The call's code speaks for the receiver alone. A later replica that could not be reached is
// listed in `failed`, so that the client knows that it need not wait for its acknowledgement.
struct PutPieceResponse {
  std::vector<ReplicaAck> acks;
  std::vector<NodeId> failed;

  void Encode(Buffer& out) const;
  static Result<PutPieceResponse> Decode(ConstBytes bytes);
};

// A commit of this version is answered with why objects failed.
inline constexpr std::uint16_t kPutCommitVersionCodes = 2;

struct PutCommitRequest {
  struct Object {
    ChunkKey key;
    PartShape shape;
    LevelBytes level_bytes{};
    std::vector<ReplicaAck> acks;  // at least one
  };
  RequestHead head{MessageType::kPutCommit};
  Buffer ticket;
  std::vector<Object> objects;

  void Encode(Buffer& out) const;
  static Result<PutCommitRequest> Decode(ConstBytes bytes);
};

enum class CommitState : std::uint8_t {
  kVisible = 0,  // all parts are in; the nodes have made the chunk visible
  kPending = 1,  // this part is noted; others are missing
  kFailed = 2,   // no replica could commit it: the chunk is not stored
};

struct PutCommitResponse {
  struct Object {
    CommitState state = CommitState::kFailed;
    std::uint8_t replicas = 0;          // that made it visible
    std::uint8_t replicas_on_disk = 0;  // of those, that have it on disk
    // Of what failed: kResourceExhausted if a node had no room for it, in memory or on its disk;
    // kUnavailable if none could be reached or their disks failed. kOk: not told, to version 1.
    Code code = Code::kOk;
  };
  std::vector<Object> objects;  // one per object of the request

  void Encode(Buffer& out) const;
  static Result<PutCommitResponse> Decode(ConstBytes bytes);
};

struct PutAbortRequest {
  RequestHead head{MessageType::kPutAbort};
  Buffer ticket;

  void Encode(Buffer& out) const;
  static Result<PutAbortRequest> Decode(ConstBytes bytes);
};

}  // namespace kdn::wire
