#include "coordinator/service/core_metrics.h"

#include <algorithm>

namespace kdn::coordinator {
namespace {

// A counter follows a number that only grows.
void Follow(Counter& counter, std::uint64_t total) {
  counter.Add(total - counter.value());
}

template <class Number>
void Show(Gauge& gauge, Number value) {
  gauge.Set(static_cast<std::int64_t>(value));
}

}  // namespace

CoreMetrics::CoreMetrics(MetricRegistry& metrics)
    : lookups_(metrics.CounterOf("kdn_coordinator_lookups_total", "Lookups answered")),
      lookup_keys_(metrics.CounterOf("kdn_coordinator_lookup_keys_total",
                                     "Chunk keys asked for in lookups")),
      lookup_hits_(metrics.CounterOf("kdn_coordinator_lookup_hits_total",
                                     "Chunk keys answered with a location")),
      puts_started_(metrics.CounterOf("kdn_coordinator_puts_started_total", "Tickets given out")),
      chunks_committed_(metrics.CounterOf("kdn_coordinator_chunks_committed_total",
                                          "Chunks made visible by a commit")),
      chunks_failed_(metrics.CounterOf("kdn_coordinator_chunks_failed_total",
                                       "Chunks that no replica could commit")),
      chunks_refused_(metrics.CounterOf("kdn_coordinator_chunks_refused_total",
                                        "Chunks for which there was no node or no room")),
      puts_expired_(metrics.CounterOf("kdn_coordinator_puts_expired_total",
                                      "Puts that were abandoned and taken back")),
      puts_open_(metrics.GaugeOf("kdn_coordinator_puts_open", "Puts that are kept")),
      chunks_(metrics.GaugeOf("kdn_coordinator_directory_chunks", "Chunk keys in the directory")),
      locations_(metrics.GaugeOf("kdn_coordinator_directory_locations",
                                 "Replicas of parts in the directory")),
      directory_bytes_(
          metrics.GaugeOf("kdn_coordinator_directory_bytes", "Memory that the directory takes")),
      stored_bytes_(metrics.GaugeOf("kdn_coordinator_stored_bytes",
                                    "Bytes that nodes hold, over all replicas")),
      nodes_alive_(metrics.GaugeOf("kdn_coordinator_nodes", "Nodes by state", "state=\"alive\"")),
      nodes_dead_(metrics.GaugeOf("kdn_coordinator_nodes", "Nodes by state", "state=\"dead\"")),
      contexts_(metrics.GaugeOf("kdn_coordinator_contexts", "Named contexts")),
      epoch_(metrics.GaugeOf("kdn_coordinator_epoch", "Reign of this coordinator")) {}

void CoreMetrics::Publish(const Core& core) {
  const LookupCounts& lookups = core.lookup_counts();
  Follow(lookups_, lookups.lookups);
  Follow(lookup_keys_, lookups.keys);
  Follow(lookup_hits_, lookups.hits);
  const PutCounts& puts = core.puts().counts();
  Follow(puts_started_, puts.started);
  Follow(chunks_committed_, puts.committed);
  Follow(chunks_failed_, puts.failed);
  Follow(chunks_refused_, puts.refused);
  Follow(puts_expired_, puts.expired);
  Show(puts_open_, core.puts().open_count());
  const DirectorySize size = core.directory().size();
  Show(chunks_, size.chunks);
  Show(locations_, size.locations);
  Show(directory_bytes_, size.memory_bytes);
  Show(stored_bytes_, size.bytes_stored);
  const auto& nodes = core.membership().nodes();
  const auto alive = std::ranges::count_if(nodes, [](const auto& n) { return n.second.alive; });
  Show(nodes_alive_, alive);
  Show(nodes_dead_, static_cast<std::int64_t>(nodes.size()) - alive);
  Show(contexts_, core.contexts().count());
  Show(epoch_, core.epoch());
}

}  // namespace kdn::coordinator
