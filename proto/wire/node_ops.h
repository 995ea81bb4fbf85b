// What the coordinator tells nodes over transport. Every request carries the coordinator's epoch; a
// node that has seen a higher one refuses (kFailedPrecondition), and makes a higher one durable
// before it obeys.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/object/object.h"
#include "proto/wire/message.h"

namespace kdn::wire {

struct ObjectName {
  TenantId tenant{};
  ChunkKey key;
  std::uint16_t part = 0;
  PutId put_id;

  friend bool operator==(const ObjectName&, const ObjectName&) = default;
};

inline constexpr std::size_t kObjectsPerRequestMax = 1024;

struct CommitObjectsRequest {
  struct Object {
    ObjectName name;
    ObjectDigest digest;
  };
  RequestHead head{MessageType::kCommitObjects};
  Epoch epoch{};
  std::vector<Object> objects;

  void Encode(Buffer& out) const;
  static Result<CommitObjectsRequest> Decode(ConstBytes bytes);
};

// Deletes levels of visible objects, or aborts puts that are not visible yet.
struct DropObjectsRequest {
  struct Object {
    ObjectName name;
    LevelSet levels = kAllLevels;
  };
  RequestHead head{MessageType::kDropObjects};
  Epoch epoch{};
  std::vector<Object> objects;

  void Encode(Buffer& out) const;
  static Result<DropObjectsRequest> Decode(ConstBytes bytes);
};

// Reads every stored byte of these objects again; what fails is dropped.
struct VerifyObjectsRequest {
  RequestHead head{MessageType::kVerifyObjects};
  Epoch epoch{};
  std::vector<ObjectName> objects;

  void Encode(Buffer& out) const;
  static Result<VerifyObjectsRequest> Decode(ConstBytes bytes);
};

// Answers all three: one code per object, and what is on disk of it.
struct ObjectCodesResponse {
  struct Object {
    Code code = Code::kOk;
    LevelSet on_disk;
  };
  std::vector<Object> objects;

  void Encode(Buffer& out) const;
  static Result<ObjectCodesResponse> Decode(ConstBytes bytes);
};

}  // namespace kdn::wire
