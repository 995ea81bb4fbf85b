#include "node/admission.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>

namespace kdn::node {
namespace {

using std::chrono::milliseconds;
using wire::Priority;

// The share of all room that requests of a priority may fill, per cent: what is left beyond is for
// those above it. By Priority.
constexpr std::array<std::size_t, wire::kPriorityCount> kRoomPercent = {100, 50, 70, 85, 100};

constexpr milliseconds kRetryMin{5};
constexpr milliseconds kRetryMax{1'000};
// Memory comes back as RocksDB writes its buffers out.
constexpr milliseconds kMemoryRetry{100};

milliseconds RetryAfter(Duration wait) {
  return std::clamp(std::chrono::ceil<milliseconds>(wait), kRetryMin, kRetryMax);
}

Counter& ShedCounter(MetricRegistry& metrics, std::string_view labels) {
  return metrics.CounterOf(
      "kdn_node_calls_shed_total",
      "Requests refused with a time to come back, by reason, priority and tenant", labels);
}

}  // namespace

Admission::Admission(const AdmissionOptions& options, const MemoryWatch& memory, const Clock& clock,
                     MetricRegistry& metrics)
    : options_(options), memory_(memory), clock_(clock), metrics_(metrics) {
  (void)ShedCounter(metrics_, {});  // exported before anything is shed
}

Admission::Verdict Admission::Judge(const Asked& asked) {
  const TimePoint now = clock_.Now();
  if (auto refused = Refuse(asked, now)) {
    Count(*refused, asked);
    return {std::move(refused), {}};
  }
  ++requests_open_;
  bytes_open_ += asked.bytes;
  return {std::nullopt, Token(*this, asked.bytes, now)};
}

bool Admission::HasRoom(const Asked& asked) const {
  if (requests_open_ == 0) return true;  // however large it is
  const std::size_t percent = kRoomPercent[static_cast<std::size_t>(asked.priority)];
  return (requests_open_ + 1) * 100 <= options_.requests_max * percent &&
         (bytes_open_ + asked.bytes) / 100 <= options_.bytes_max / 10'000 * percent;
}

std::optional<wire::Overload> Admission::Refuse(const Asked& asked, TimePoint now) {
  if (memory_.Sheds(asked.priority)) {
    return wire::Overload{wire::ShedReason::kMemory, asked.priority, kMemoryRetry};
  }
  if (!HasRoom(asked)) {
    return wire::Overload{wire::ShedReason::kQueue, asked.priority, RetryAfter(usual_time_)};
  }
  if (!asked.rated) return std::nullopt;
  // Last: what is refused otherwise does not count against the tenant.
  const auto beyond = rates_.Take(asked.tenant, asked.bytes, now);
  if (!beyond) return std::nullopt;
  const auto reason =
      beyond->for_bytes ? wire::ShedReason::kTenantBytes : wire::ShedReason::kTenantRequests;
  const milliseconds wait = std::max(kRetryMin, std::chrono::ceil<milliseconds>(beyond->wait));
  // A tenant's rate is for all that it asks.
  return wire::Overload{reason, Priority::kLoad, std::min(wait, wire::kRetryAfterMax)};
}

void Admission::Release(std::size_t bytes, TimePoint began) {
  --requests_open_;
  bytes_open_ -= bytes;
  const Duration took = clock_.Now() - began;
  usual_time_ += (took - usual_time_) / 16;
}

void Admission::SetTenants(const ClusterView& view) {
  if (tenants_version_ == view.tenants_version) return;
  tenants_version_ = view.tenants_version;
  std::map<TenantId, TenantRate> rates;
  for (const auto& [tenant, access] : view.tenants) rates[tenant] = access.rate;
  rates_.Set(rates, options_.usual_rate, 1.0 / options_.shard_count);
}

// Off the path of what is served; tenants are those that proved who they are.
void Admission::Count(const wire::Overload& overload, const Asked& asked) {
  const std::string labels = "reason=\"" + std::string(wire::ShedReasonName(overload.reason)) +
                             "\",priority=\"" + std::string(wire::PriorityName(asked.priority)) +
                             "\",tenant=\"" +
                             std::to_string(static_cast<std::uint64_t>(asked.tenant)) + "\"";
  ShedCounter(metrics_, labels).Add();
}

}  // namespace kdn::node
