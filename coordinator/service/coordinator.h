// A whole coordinator in one object: the daemon is this and a `main`, a test starts it in its own
// process. Opens the metastore, begins a reign, and serves clients over transport, nodes and tools
// over gRPC, and operators over HTTP.
//
// Thread-safety: not safe; one thread starts and stops it. What it serves runs on its own threads.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "coordinator/config.h"

namespace kdn::coordinator {

class Coordinator {
 public:
  // Requires: a valid config. `clock`, `random` and `log` outlive the coordinator; `random` is safe
  // for use by several threads. The error says what could not be opened, read or listened on.
  [[nodiscard]] static Result<std::unique_ptr<Coordinator>> Start(const CoordinatorConfig& config,
                                                                  const Clock& clock,
                                                                  Random& random, Log& log);
  // Stops serving at once; what was acknowledged is on disk.
  ~Coordinator();

  // Where it listens, with the ports that the system chose.
  [[nodiscard]] const std::string& endpoint() const;
  [[nodiscard]] const std::string& grpc_endpoint() const;
  [[nodiscard]] const std::string& status_endpoint() const;  // empty: none
  [[nodiscard]] const ClusterId& cluster() const;
  [[nodiscard]] Epoch epoch() const;
  [[nodiscard]] MetricRegistry& metrics();

 private:
  struct Impl;
  explicit Coordinator(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace kdn::coordinator
