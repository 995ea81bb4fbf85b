// What a daemon tells over HTTP: /metrics in the Prometheus text format, /healthz while the process
// runs, /readyz when it can do its work. For scrapers and orchestrators; nothing else is served.
//
// A target of its own, kdn::transport_status: the client library does not link it.
//
// Thread-safety: safe. Has threads of its own, on which `ready` and the registry are asked.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"

namespace kdn::transport::status {

class StatusServer {
 public:
  // Serves at "address:port" until it is destroyed; the address is a number or "localhost", and on
  // loopback unless `insecure`. Port 0: one that is free. `ready` says whether the daemon can do
  // its work; it must not block. `metrics` and what `ready` refers to outlive the server.
  // kInvalidArgument for an endpoint that is none, kFailedPrecondition off loopback, kUnavailable
  // if it cannot listen.
  [[nodiscard]] static Result<std::unique_ptr<StatusServer>> Start(std::string_view endpoint,
                                                                   const MetricRegistry& metrics,
                                                                   std::function<bool()> ready,
                                                                   bool insecure = false);
  virtual ~StatusServer() = default;  // waits for answers that are being given
  // Where it listens, with the port that was chosen.
  [[nodiscard]] virtual std::string endpoint() const = 0;

 protected:
  StatusServer() = default;
};

}  // namespace kdn::transport::status
