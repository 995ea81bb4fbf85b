// When operations begin, and what is counted. In a closed loop each client begins its next
// operation when its last has ended. In an open loop operations arrive at a rate, whatever becomes
// of those before them, and their time counts from the moment at which they were to begin: a target
// that stalls for a second shows as a second to all that would have come meanwhile, also if too few
// clients were free to issue them ("coordinated omission" is what it is called where they are
// forgotten).
//
// Thread-safety: as each class says.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "client/bench/draw.h"
#include "client/bench/histogram.h"
#include "client/bench/target.h"

namespace kdn::bench {

// Time as the loops see it. Thread-safety: safe.
class Timer {
 public:
  virtual ~Timer() = default;
  [[nodiscard]] virtual TimePoint Now() = 0;
  virtual void WaitUntil(TimePoint time) = 0;
};

// The machine's own.
class SteadyTimer final : public Timer {
 public:
  [[nodiscard]] TimePoint Now() override { return std::chrono::steady_clock::now(); }
  void WaitUntil(TimePoint time) override;
};

struct LoopPlan {
  TimePoint begin;
  Duration warmup{};    // what is to begin in it is issued and not counted
  Duration measured{};  // follows the warm-up
  Duration drain{};     // how long after that operations still begin that came too late to begin
  double rate = 0.0;    // arrivals a second; 0: a closed loop
  bool poisson = true;  // arrivals at random; false: at equal distances
  std::uint64_t seed = 0;

  [[nodiscard]] TimePoint count_begin() const { return begin + warmup; }
  [[nodiscard]] TimePoint end() const { return begin + warmup + measured; }
};

// The moments at which operations of an open loop are to begin. Thread-safety: safe.
class Arrivals {
 public:
  explicit Arrivals(const LoopPlan& plan);
  // The next one; none once the plan's end has come.
  std::optional<TimePoint> Next();

 private:
  const LoopPlan plan_;
  std::mutex mutex_;
  Lots lots_;        // guarded by mutex_
  double at_ = 0.0;  // in mean distances after the beginning; guarded by mutex_
};

// What became of one kind of operation. Not safe.
struct Tally {
  LatencyHistogram latency;      // of what was to begin while it counts, until it ended
  LatencyHistogram start_delay;  // of an open loop: until it began
  LatencyHistogram lookup;
  LatencyHistogram load;
  LatencyHistogram store;
  std::array<std::uint64_t, kOutcomes> outcomes{};
  // For rates: what ended well between the beginning of counting and the end.
  std::uint64_t ended = 0;
  std::uint64_t bytes = 0;

  void Merge(const Tally& other);
};
using Tallies = std::array<Tally, kKinds>;

// Issues operations until the plan is over, as one client of several. `arrivals` is shared by all
// clients; null: a closed loop. Ends early, between two operations, once `stop` is set.
void RunClient(const LoopPlan& plan, Arrivals* arrivals, Timer& timer, Worker& worker,
               const std::atomic<bool>& stop, Tallies& tallies);

}  // namespace kdn::bench
