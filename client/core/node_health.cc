#include "client/core/node_health.h"

#include <algorithm>
#include <utility>

namespace kdn::client {
namespace {

Gauge& StateGauge(MetricRegistry& metrics, const char* labels) {
  return metrics.GaugeOf("kdn_client_breakers", "Nodes by the state of their breaker", labels);
}

}  // namespace

NodeHealth::NodeHealth(const HealthOptions& options, const Clock& clock, Random& random,
                       MetricRegistry& metrics, Probe probe)
    : options_(options),
      clock_(clock),
      random_(random),
      probe_(std::move(probe)),
      budget_(options.retry_percent),
      states_{&StateGauge(metrics, R"(state="closed")"), &StateGauge(metrics, R"(state="open")"),
              &StateGauge(metrics, R"(state="half_open")")},
      opened_(metrics.CounterOf("kdn_client_breaker_opened_total",
                                "Times that a node was given up for a while")),
      retries_denied_(metrics.CounterOf("kdn_client_retries_denied_total",
                                        "Second requests that the retry budget did not allow")),
      pressed_(metrics.CounterOf("kdn_client_pressure_total",
                                 "Requests that a daemon refused with a time to come back")) {}

NodeHealth::Node& NodeHealth::NodeOf(NodeId node) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) return found->second;
  states_[static_cast<std::size_t>(BreakerState::kClosed)]->Add(1);
  return nodes_.try_emplace(node, options_.breaker, options_.hedge_percentile).first->second;
}

void NodeHealth::Count(BreakerState from, BreakerState to) {
  if (from == to) return;
  states_[static_cast<std::size_t>(from)]->Add(-1);
  states_[static_cast<std::size_t>(to)]->Add(1);
  if (to == BreakerState::kOpen) opened_.Add();
}

double NodeHealth::Share() {
  std::uint16_t drawn = 0;
  random_.Fill(std::as_writable_bytes(std::span(&drawn, 1)));
  return static_cast<double>(drawn) / 65536;
}

// -- Standing ----------------------------------------------------------------------------------

Standing NodeHealth::StandingOf(const CallTarget& target, wire::Priority priority) {
  Node& node = NodeOf(target.node);
  if (node.breaker.MayProbe(clock_.Now())) StartProbe(node, target);
  switch (node.breaker.state()) {
    case BreakerState::kClosed:
      break;
    case BreakerState::kHalfOpen:
      return node.breaker.silent() ? Standing::kSilent : Standing::kSuspect;
    case BreakerState::kOpen:
      return node.breaker.silent() ? Standing::kSilent : Standing::kRefusing;
  }
  const bool pressed = clock_.Now() < node.pressed_until[static_cast<std::size_t>(priority)];
  return pressed ? Standing::kPressed : Standing::kGood;
}

TimePoint NodeHealth::PressedUntil(NodeId node, wire::Priority priority) const {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return {};
  return found->second.pressed_until[static_cast<std::size_t>(priority)];
}

// -- What has happened -------------------------------------------------------------------------

void NodeHealth::Heard(Node& node) {
  const BreakerState before = node.breaker.state();
  node.breaker.OnHeard();
  Count(before, node.breaker.state());
}

void NodeHealth::OnPiece(NodeId id, Duration took) {
  Node& node = NodeOf(id);
  node.times.Add(took);
  Heard(node);
}

void NodeHealth::OnWaited(NodeId node, Duration waited) {
  NodeOf(node).times.Add(waited);
}

bool NodeHealth::OnEnd(NodeId id, Code code, ConstBytes response) {
  if (code == Code::kCancelled) return false;
  Node& node = NodeOf(id);
  if (code == Code::kUnavailable || code == Code::kDeadlineExceeded) {
    const BreakerState before = node.breaker.state();
    node.breaker.OnFailure(clock_.Now(), Share(), code == Code::kDeadlineExceeded);
    Count(before, node.breaker.state());
    return false;
  }
  Heard(node);
  if (code != Code::kResourceExhausted) return false;
  const auto overload = wire::Overload::Decode(response);
  if (!overload) return false;
  pressed_.Add();
  const TimePoint until = clock_.Now() + overload->retry_after;
  for (std::size_t p = 0; p <= static_cast<std::size_t>(overload->priority); ++p) {
    node.pressed_until[p] = std::max(node.pressed_until[p], until);
  }
  return true;
}

void NodeHealth::OnSilent(const CallTarget& target) {
  Node& node = NodeOf(target.node);
  if (node.breaker.state() == BreakerState::kClosed) StartProbe(node, target);
}

void NodeHealth::StartProbe(Node& node, const CallTarget& target) {
  const BreakerState before = node.breaker.state();
  node.breaker.BeginProbe();
  Count(before, node.breaker.state());
  const auto patience = std::max<Duration>(options_.hedge_ceiling, options_.hedge_floor);
  probe_(target, patience, [this, id = target.node](Code code) { OnProbed(id, code); });
}

void NodeHealth::OnProbed(NodeId id, Code code) {
  Node& node = NodeOf(id);
  if (code == Code::kCancelled) return;  // the client ends
  if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) return Heard(node);
  const BreakerState before = node.breaker.state();
  node.breaker.OnProbeFailed(clock_.Now(), Share(), code == Code::kDeadlineExceeded);
  Count(before, node.breaker.state());
}

// -- When a read is late -----------------------------------------------------------------------

Duration NodeHealth::SilenceAllowed(NodeId id) {
  const Duration ceiling = options_.hedge_ceiling;
  return std::clamp<Duration>(NodeOf(id).times.Quantile().value_or(ceiling), options_.hedge_floor,
                              std::max<Duration>(ceiling, options_.hedge_floor));
}

Duration NodeHealth::PieceAllowed(NodeId id) {
  const auto quantile = NodeOf(id).times.Quantile();
  if (!quantile) return Duration::max();
  return std::max<Duration>(*quantile, options_.hedge_floor);
}

// -- Second requests ---------------------------------------------------------------------------

bool NodeHealth::TakeRetry() {
  const TimePoint now = clock_.Now();
  if (budget_at_ != TimePoint{}) budget_.OnTime(now - budget_at_);
  budget_at_ = now;
  if (budget_.Take()) return true;
  retries_denied_.Add();
  return false;
}

}  // namespace kdn::client
