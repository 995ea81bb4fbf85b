// What a lookup found, as the client keeps it, and its form between processes.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <vector>

#include "kdn/client.h"
#include "proto/wire/lookup.h"

namespace kdn::client {

struct MatchedChunk {
  ChunkKey key;
  wire::ChunkLocation where;
};

struct LookupResult::State {
  ModelFingerprint model;
  std::uint32_t chunk_tokens = 0;
  ProvenanceKind floor = ProvenanceKind::kExact;
  Level level_min = Level::kExact;
  std::vector<wire::NodeEndpoints> nodes;  // those that the chunks' replicas name
  std::vector<MatchedChunk> chunks;
};

// Makes results out of states.
class LookupAccess {
 public:
  static LookupResult Make(LookupResult::State state);
};

}  // namespace kdn::client
