// What the handlers of one shard share.
//
// Thread-safety: owned by one shard; what is referred to says its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/request_lines.h"
#include "node/cluster_state.h"
#include "node/epoch_keeper.h"
#include "node/metrics.h"
#include "node/peers.h"
#include "node/scratch.h"
#include "proto/object/chunk_key.h"
#include "storage/object_store.h"
#include "transport/channel.h"

namespace kdn::node {

// Keeps calls of a higher epoch until that epoch is durable, then hands them in again.
class Deferrer {
 public:
  virtual ~Deferrer() = default;
  virtual void Defer(std::unique_ptr<transport::Exchange> call, Epoch epoch) = 0;
};

struct ShardContext {
  std::uint32_t shard = 0;
  std::uint32_t shard_count = 1;
  storage::ObjectStore& store;
  const ClusterState& state;
  const EpochKeeper& epochs;
  Deferrer& deferrer;
  Peers& peers;
  ScratchPool& scratch;
  const HmacKey& cluster_key;  // of tickets
  const Clock& clock;
  Log& log;
  NodeMetrics& metrics;
  std::chrono::milliseconds forward_timeout{1000};
  RequestLines lines;

  [[nodiscard]] bool Owns(const ChunkKey& key) const {
    return ShardOfKey(key, shard_count) == shard;
  }
};

}  // namespace kdn::node
