// Publishes what the core has counted.
//
// Thread-safety: owned by the core's thread.
#pragma once

#include "base/metrics.h"
#include "coordinator/core/core.h"

namespace kdn::coordinator {

class CoreMetrics {
 public:
  explicit CoreMetrics(MetricRegistry& metrics);
  void Publish(const Core& core);

 private:
  Counter& lookups_;
  Counter& lookup_keys_;
  Counter& lookup_hits_;
  Counter& puts_started_;
  Counter& chunks_committed_;
  Counter& chunks_failed_;
  Counter& chunks_refused_;
  Counter& puts_expired_;
  Gauge& puts_open_;
  Gauge& chunks_;
  Gauge& locations_;
  Gauge& directory_bytes_;
  Gauge& stored_bytes_;
  Gauge& nodes_alive_;
  Gauge& nodes_dead_;
  Gauge& contexts_;
  Gauge& epoch_;
};

}  // namespace kdn::coordinator
