// The node's metrics by handle; docs/operations.md lists them.
//
// Thread-safety: safe.
#pragma once

#include "base/metrics.h"

namespace kdn::node {

struct NodeMetrics {
  explicit NodeMetrics(MetricRegistry& registry)
      : gets(registry.CounterOf("kdn_node_gets_total", "Objects read, by outcome",
                                R"(outcome="hit")")),
        misses(registry.CounterOf("kdn_node_gets_total", "Objects read, by outcome",
                                  R"(outcome="miss")")),
        get_errors(registry.CounterOf("kdn_node_gets_total", "Objects read, by outcome",
                                      R"(outcome="error")")),
        get_bytes(registry.CounterOf("kdn_node_get_bytes_total", "Bytes sent to readers")),
        get_time(registry.HistogramOf("kdn_node_get_seconds",
                                      "From a read's arrival until its last byte has left")),
        pieces(registry.CounterOf("kdn_node_put_pieces_total", "Pieces of puts received")),
        put_bytes(registry.CounterOf("kdn_node_put_bytes_total", "Bytes of puts received")),
        puts_refused(registry.CounterOf("kdn_node_puts_refused_total", "Pieces of puts refused")),
        puts_corrupt(registry.CounterOf("kdn_node_puts_corrupt_total",
                                        "Puts that did not verify when they were whole")),
        forwards_failed(registry.CounterOf("kdn_node_forwards_failed_total",
                                           "Pieces that the next replica did not take")),
        put_time(registry.HistogramOf("kdn_node_put_piece_seconds",
                                      "From a piece's arrival until it is answered")),
        commits(registry.CounterOf("kdn_node_commits_total", "Objects made visible")),
        corrupt_reports(registry.CounterOf("kdn_node_corrupt_reports_total",
                                           "Reports by readers of bytes that do not verify")),
        corrupt_found(registry.CounterOf("kdn_node_corrupt_found_total",
                                         "Objects that did not verify when asked to be checked")),
        refused(registry.CounterOf("kdn_node_calls_refused_total",
                                   "Calls that were malformed or not allowed")),
        disk_bytes(registry.GaugeOf("kdn_node_disk_bytes", "Bytes of the disk tier in use")) {}

  Counter& gets;
  Counter& misses;
  Counter& get_errors;
  Counter& get_bytes;
  Histogram& get_time;
  Counter& pieces;
  Counter& put_bytes;
  Counter& puts_refused;
  Counter& puts_corrupt;
  Counter& forwards_failed;
  Histogram& put_time;
  Counter& commits;
  Counter& corrupt_reports;
  Counter& corrupt_found;
  Counter& refused;
  Gauge& disk_bytes;
};

}  // namespace kdn::node
