// What every operation of a client shares: threads, memory, options, metrics. Lives until the last
// handle is gone, because a handle may outlive a call that its deadline cut off.
//
// Thread-safety: members say for themselves; the struct does not change after construction.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/request_lines.h"
#include "client/core/io_loop.h"
#include "client/core/node_health.h"
#include "client/core/staging.h"
#include "client/core/work_pool.h"
#include "kdn/client.h"
#include "proto/wire/lookup.h"

namespace kdn::client {

// The nodes' endpoints as the coordinator last told them. Touched by the I/O loop only.
class NodeDirectory {
 public:
  // Takes over a newer map; one without nodes only confirms the version.
  void Update(const wire::NodeMap& map);
  [[nodiscard]] std::uint64_t version() const { return version_; }
  // Null if the coordinator has not told of this node. Valid until the next Update().
  [[nodiscard]] const wire::NodeEndpoints* Find(NodeId node) const;
  // Where the node's shard for this key listens; empty if nobody has told. The coordinator's latest
  // word comes first: a node that came back has other endpoints than an old answer says. `told` is
  // such an answer's list, and all there is in a process that has never asked.
  [[nodiscard]] std::string EndpointOf(NodeId node, const ChunkKey& key,
                                       const std::vector<wire::NodeEndpoints>& told) const;

 private:
  std::uint64_t version_ = 0;
  std::map<NodeId, wire::NodeEndpoints> nodes_;
};

struct ClientMetrics {
  explicit ClientMetrics(MetricRegistry& registry);
  Counter& lookups;
  Counter& lookup_tokens;
  Counter& hit_tokens;
  Counter& loads;
  Counter& loads_short;
  Counter& bytes_received;
  Counter& pieces_corrupt;
  Counter& failovers;
  Counter& hedges;
  Counter& hedges_won;
  Counter& reads_moved;
  Counter& stores;
  Counter& chunks_stored;
  Counter& bytes_sent;
  Counter& profiles_fetched;
  Counter& profiles_missing;
  Counter& profiles_learned;
  Histogram& lookup_seconds;
  Histogram& load_seconds;
  Histogram& store_seconds;
};

class Profiles;

struct ClientContext {
  explicit ClientContext(const ClientOptions& client_options)
      : options(client_options), metrics(registry) {}

  ClientOptions options;
  SteadyClock clock;
  SystemRandom random;
  std::shared_ptr<Log> log;
  MetricRegistry registry;
  ClientMetrics metrics;
  NodeDirectory nodes;                   // of the I/O loop
  std::unique_ptr<NodeHealth> health;    // of the I/O loop
  bool compact_lookups = true;           // of the I/O loop; false: the coordinator is too old
  bool commit_codes = true;              // the same
  std::unique_ptr<StagingPool> staging;  // of the I/O loop
  std::unique_ptr<WorkPool> workers;
  // The client's own; set before any operation begins, and stopped before the loop is.
  Profiles* profiles = nullptr;
  std::unique_ptr<IoLoop> loop;  // last: its thread uses all of the above

  // The trace id of an operation that was given none, or the one that it was.
  [[nodiscard]] TraceId TraceOr(const TraceId& trace) {
    return trace.IsZero() ? RandomId<TraceId>(random) : trace;
  }
  // The level of the line about an operation that took so long; nothing: it gets none.
  [[nodiscard]] std::optional<LogLevel> LineOf(Duration took) const {
    if (options.log == nullptr) return std::nullopt;
    return RequestLines{options.slow_request, options.log_requests}.LevelOf(took);
  }

  // The deadline that a call without one gets.
  [[nodiscard]] TimePoint DeadlineOr(TimePoint deadline) const {
    return deadline == TimePoint{} ? clock.Now() + options.timeout : deadline;
  }
};

}  // namespace kdn::client
