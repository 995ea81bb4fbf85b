// Decides which clients' calls the coordinator takes on: each tenant at its rate, puts only while
// there is room for their commits, and fewer calls, the less urgent first, while its turns take
// long. What finishes or undoes a put that has begun is always taken.
//
// Thread-safety: safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/tenant_rates.h"
#include "proto/wire/overload.h"

namespace kdn::coordinator {

class Admission {
 public:
  // `rates`: of all tenants there are; zeros: as `usual`. All outlive this.
  Admission(const std::map<TenantId, TenantRate>& rates, const TenantRate& usual,
            const Clock& clock, MetricRegistry& metrics);

  // How full the queue of calls that wait for nodes and for the disk is.
  struct Queue {
    std::size_t size = 0;
    std::size_t size_max = 1;
  };
  // Why the call is not taken on, and when to come back; nothing: it is.
  [[nodiscard]] std::optional<wire::Overload> Judge(const wire::RequestHead& head, TenantId tenant,
                                                    const Queue& queue);
  // How long one turn of the thread that answers took, which is how long a call may have waited.
  void NoteTurn(Duration took);

 private:
  [[nodiscard]] std::optional<wire::Overload> Refuse(wire::Priority priority, TenantId tenant,
                                                     const Queue& queue);

  const Clock& clock_;
  MetricRegistry& metrics_;
  const bool any_rate_;
  std::mutex mutex_;
  TenantRates rates_;                   // guarded by mutex_
  std::atomic<Duration::rep> turn_{0};  // smoothed
};

}  // namespace kdn::coordinator
