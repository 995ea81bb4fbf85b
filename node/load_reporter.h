// Tells the coordinator every second what this node is doing, for those who watch (kdnctl top). It
// is apart from the heartbeat, on which more depends: if it fails, nothing but the picture does.
//
// Thread-safety: safe; a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/metrics.h"
#include "kdn/v1/load.grpc.pb.h"
#include "node/cluster_state.h"

namespace kdn::node {

// What is told, out of the metrics' text.
[[nodiscard]] v1::NodeLoad LoadOf(const std::string& metrics_text);

// All that is referred to outlives the reporter.
struct LoadReporterSetup {
  std::string coordinator;  // host:port
  std::string credential;
  const ClusterState& state;
  const MetricRegistry& registry;
  const Clock& clock;
};

class LoadReporter {
 public:
  static constexpr std::chrono::milliseconds kInterval{1000};

  explicit LoadReporter(const LoadReporterSetup& setup);
  ~LoadReporter();
  LoadReporter(const LoadReporter&) = delete;
  LoadReporter& operator=(const LoadReporter&) = delete;

 private:
  void Run();
  void Report(v1::Load::Stub& stub);

  const LoadReporterSetup setup_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                         // guarded by mutex_
  std::unique_ptr<grpc::ClientContext> calling_;  // guarded by mutex_
  std::thread thread_;                            // last: it uses all of the above
};

}  // namespace kdn::node
