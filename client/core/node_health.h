// What a client knows of how its nodes fare, shared by all of its operations: a breaker for each,
// how long it takes for its pieces, until when it has asked not to be asked; and the budget for
// second requests.
//
// Knows nothing of loads, stores or engine memory. Thread-safety: owned by the I/O loop.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>

#include "base/clock.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/random.h"
#include "client/core/breaker.h"
#include "client/core/calls.h"
#include "client/core/piece_times.h"
#include "client/core/retry_budget.h"
#include "proto/wire/overload.h"

namespace kdn::client {

struct HealthOptions {
  std::chrono::milliseconds hedge_floor{20};
  std::chrono::milliseconds hedge_ceiling{100};  // 0: nothing is late
  std::uint32_t hedge_percentile = 99;
  BreakerOptions breaker;
  std::uint32_t retry_percent = 10;
};

// What to think of a node. The lower the better.
enum class Standing : std::uint8_t {
  kGood,
  kSuspect,   // it is being probed: perhaps slow, perhaps gone
  kRefusing,  // it fails calls, but soon: nothing is lost by asking it
  kPressed,   // it asked not to be asked for now
  kSilent,    // it answers nothing: who asks it waits in vain
};

class NodeHealth {
 public:
  // Asks the node anything that it answers at once; `answer` comes once, at the latest after the
  // given time.
  using Probe =
      std::function<void(const CallTarget&, Duration patience, std::function<void(Code)> answer)>;

  // All outlive this.
  NodeHealth(const HealthOptions& options, const Clock& clock, Random& random,
             MetricRegistry& metrics, Probe probe);

  // Standing for a request of this priority. A node whose breaker is open and whose pause is over
  // is probed by being asked for: the request itself goes elsewhere.
  [[nodiscard]] Standing StandingOf(const CallTarget& target, wire::Priority priority);
  // From when on the node may be asked again, of one that is kPressed.
  [[nodiscard]] TimePoint PressedUntil(NodeId node, wire::Priority priority) const;

  // -- What has happened ---------------------------------------------------------------------
  void OnPiece(NodeId node, Duration took);
  // A read was given up after it had waited so long for a piece: the node takes longer than that.
  void OnWaited(NodeId node, Duration waited);
  // A call has ended. `response` is looked at for kResourceExhausted only. True if the node has
  // asked not to be asked for a while: that is pressure, and no fault.
  bool OnEnd(NodeId node, Code code, ConstBytes response);
  // Nothing at all has come from there for SilenceAllowed().
  void OnSilent(const CallTarget& target);

  // -- When a read is late -------------------------------------------------------------------
  [[nodiscard]] bool hedges() const { return options_.hedge_ceiling.count() > 0; }
  // A node from which no byte has come for so long is silent: its own quantile, between floor and
  // ceiling.
  [[nodiscard]] Duration SilenceAllowed(NodeId node);
  // A piece that has not come for so long is late although others come: the quantile, and no
  // ceiling, as on a slow link all take long. Duration::max() while there is no quantile.
  [[nodiscard]] Duration PieceAllowed(NodeId node);

  // -- Second requests -----------------------------------------------------------------------
  void OnRequest() { budget_.OnRequest(); }
  // False, and counted, if there have been too many.
  [[nodiscard]] bool TakeRetry();
  void GiveBackRetry() { budget_.GiveBack(); }

 private:
  struct Node {
    Node(const BreakerOptions& breaker_options, std::uint32_t percentile)
        : breaker(breaker_options), times(percentile) {}
    Breaker breaker;
    PieceTimes times;
    // Not before, for each priority.
    std::array<TimePoint, wire::kPriorityCount> pressed_until{};
  };

  Node& NodeOf(NodeId node);
  void StartProbe(Node& node, const CallTarget& target);
  void OnProbed(NodeId node, Code code);
  void Heard(Node& node);
  [[nodiscard]] double Share();
  void Count(BreakerState from, BreakerState to);

  const HealthOptions options_;
  const Clock& clock_;
  Random& random_;
  const Probe probe_;
  std::map<NodeId, Node> nodes_;
  RetryBudget budget_;
  TimePoint budget_at_{};         // until when its seconds are counted
  std::array<Gauge*, 3> states_;  // by BreakerState
  Counter& opened_;
  Counter& retries_denied_;
  Counter& pressed_;
};

}  // namespace kdn::client
