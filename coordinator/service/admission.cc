#include "coordinator/service/admission.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>

namespace kdn::coordinator {
namespace {

using std::chrono::milliseconds;
using wire::Priority;

// Turns that take longer, on the average of some, shed puts; those beyond the second all calls.
constexpr milliseconds kTurnForPuts{50};
constexpr milliseconds kTurnForAll{500};
// Of the queue; what is left is for commits of puts that have begun.
constexpr std::size_t kQueuePercentForPuts = 50;
constexpr milliseconds kQueueRetry{100};

bool AnyRate(const std::map<TenantId, TenantRate>& rates, const TenantRate& usual) {
  return usual.requests_per_second != 0 || std::ranges::any_of(rates, [](const auto& entry) {
           return entry.second.requests_per_second != 0;
         });
}

// The bytes are the nodes' to count.
TenantRates RequestsOnly(std::map<TenantId, TenantRate> rates, const TenantRate& usual) {
  for (auto& [tenant, rate] : rates) rate.bytes_per_second = 0;
  TenantRates result;
  result.Set(rates, {usual.requests_per_second, 0}, 1);
  return result;
}

Counter& ShedCounter(MetricRegistry& metrics, std::string_view labels) {
  return metrics.CounterOf("kdn_coordinator_calls_shed_total",
                           "Calls refused with a time to come back, by reason, priority and tenant",
                           labels);
}

}  // namespace

Admission::Admission(const std::map<TenantId, TenantRate>& rates, const TenantRate& usual,
                     const Clock& clock, MetricRegistry& metrics)
    : clock_(clock),
      metrics_(metrics),
      any_rate_(AnyRate(rates, usual)),
      rates_(RequestsOnly(rates, usual)) {
  (void)ShedCounter(metrics_, {});  // exported before anything is shed
}

void Admission::NoteTurn(Duration took) {
  const Duration::rep before = turn_.load(std::memory_order_relaxed);
  turn_.store(before + (took.count() - before) / 8, std::memory_order_relaxed);
}

std::optional<wire::Overload> Admission::Judge(const wire::RequestHead& head, TenantId tenant,
                                               const Queue& queue) {
  if (head.type == wire::MessageType::kPutCommit || head.type == wire::MessageType::kPutAbort) {
    return std::nullopt;
  }
  const Priority priority = wire::PriorityOf(head);
  auto refused = Refuse(priority, tenant, queue);
  if (!refused) return std::nullopt;
  // Off the path of what is answered; tenants are those that proved who they are.
  const std::string labels = "reason=\"" + std::string(wire::ShedReasonName(refused->reason)) +
                             "\",priority=\"" + std::string(wire::PriorityName(priority)) +
                             "\",tenant=\"" + std::to_string(static_cast<std::uint64_t>(tenant)) +
                             "\"";
  ShedCounter(metrics_, labels).Add();
  return refused;
}

std::optional<wire::Overload> Admission::Refuse(Priority priority, TenantId tenant,
                                                const Queue& queue) {
  const Duration turn(turn_.load(std::memory_order_relaxed));
  const bool puts = priority <= Priority::kPut;
  const bool full = puts && queue.size * 100 >= queue.size_max * kQueuePercentForPuts;
  if (full || turn >= (puts ? kTurnForPuts : kTurnForAll)) {
    const auto wait = std::chrono::ceil<milliseconds>(turn * 2);
    return wire::Overload{wire::ShedReason::kQueue, priority,
                          std::clamp(wait, kQueueRetry, milliseconds(1000))};
  }
  if (!any_rate_) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  const auto beyond = rates_.Take(tenant, 0, clock_.Now());
  if (!beyond) return std::nullopt;
  const auto wait = std::max(milliseconds(5), std::chrono::ceil<milliseconds>(beyond->wait));
  return wire::Overload{wire::ShedReason::kTenantRequests, Priority::kLoad,
                        std::min(wait, wire::kRetryAfterMax)};
}

}  // namespace kdn::coordinator
