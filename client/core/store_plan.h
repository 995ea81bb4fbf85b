// What is to be stored, as the client keeps it, and its form between processes.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kdn/client.h"
#include "proto/wire/put.h"

namespace kdn::client {

struct PlannedChunk {
  ChunkKey key;
  std::uint32_t token_count = 0;
  wire::PutVerdict verdict = wire::PutVerdict::kRefused;
  std::uint16_t grant = wire::kNoGrant;  // of kStore: index into grants
};

struct StorePlan::State {
  ModelFingerprint model;
  SecretId secret{};
  MatchHash match_hash{};
  Provenance provenance;
  LevelSet levels = Level::kExact;
  std::uint16_t part_count = 1;
  std::string context;
  TraceId trace;
  std::vector<PlannedChunk> chunks;  // the whole chain, in order
  std::vector<wire::PutGrant> grants;
  std::vector<wire::NodeEndpoints> nodes;  // those that the grants name
};

// Makes plans out of states.
class StoreAccess {
 public:
  static StorePlan Make(StorePlan::State state);
};

}  // namespace kdn::client
