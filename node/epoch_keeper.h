// Epoch fencing: an order of a lower epoch than the highest seen is refused, one of a higher epoch
// is obeyed only once that epoch is durable here.
//
// Thread-safety: safe.
#pragma once

#include <cstdint>

#include "base/log.h"
#include "node/cluster_state.h"
#include "node/local_state.h"
#include "node/mailbox.h"
#include "node/worker.h"

namespace kdn::node {

class EpochKeeper {
 public:
  // All outlive this object.
  EpochKeeper(LocalState& local, ClusterState& state, Log& log)
      : local_(local), state_(state), log_(log) {}

  enum class Verdict : std::uint8_t { kStale, kCurrent, kAhead };
  [[nodiscard]] Verdict Judge(Epoch epoch) const;

  // Makes the epoch durable, then obeys it. Blocks on the disk.
  [[nodiscard]] Status Raise(Epoch epoch);
  // The same on a thread of its own; `notify` gets EpochSettled when it has ended, well or not.
  // False if too much waits. `notify` outlives this object.
  [[nodiscard]] bool RaiseLater(Epoch epoch, Mailbox& notify);

 private:
  LocalState& local_;
  ClusterState& state_;
  Log& log_;
  Worker worker_;  // last: it uses all of the above
};

}  // namespace kdn::node
