// Virtual time, and a network that loses, repeats and reorders: what the simulated cluster runs in.
// Everything that happens follows from the seed, and is folded into one number, so that a run can
// be repeated and compared.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/random.h"

namespace kdn::sim {

using std::chrono::milliseconds;

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] SeededRandom& random() { return random_; }
  // Uniform in [0, bound).
  [[nodiscard]] std::uint64_t Below(std::uint64_t bound) { return random_.Next() % bound; }
  [[nodiscard]] bool Chance(std::uint64_t percent) { return Below(100) < percent; }
  [[nodiscard]] milliseconds Between(std::uint64_t from_ms, std::uint64_t to_ms) {
    return milliseconds(from_ms + Below(to_ms - from_ms + 1));
  }

  void After(milliseconds delay, std::function<void()> event) {
    events_.emplace(std::pair(now_ + delay, ++event_count_), std::move(event));
  }
  void RunFor(milliseconds time) {
    const TimePoint end = now_ + time;
    while (!events_.empty() && events_.begin()->first.first <= end) {
      auto event = events_.extract(events_.begin());
      now_ = event.key().first;
      event.mapped()();
    }
    now_ = end;
  }

  // How bad the network is from now on.
  void SetNetwork(std::uint64_t loss_percent, std::uint64_t repeat_percent) {
    loss_percent_ = loss_percent;
    repeat_percent_ = repeat_percent;
  }
  // A message: it may be lost, come twice, or come after one that was sent later.
  void Send(const std::function<void()>& deliver) {
    if (!Chance(loss_percent_)) After(Between(0, 20), deliver);
    if (Chance(repeat_percent_)) After(Between(0, 60), deliver);
  }
  // A question that is answered once, with nothing after `timeout`. `serve` may be called any
  // number of times, and answer later.
  template <class Response>
  void Ask(const std::function<void(std::function<void(Response)>)>& serve, milliseconds timeout,
           std::function<void(std::optional<Response>)> done) {
    auto once = std::make_shared<std::function<void(std::optional<Response>)>>(std::move(done));
    const auto finish = [once](std::optional<Response> response) {
      if (const auto answer = std::exchange(*once, nullptr)) answer(std::move(response));
    };
    Send([this, serve, finish] {
      serve([this, finish](Response response) { Send([finish, response] { finish(response); }); });
    });
    After(timeout, [finish] { finish(std::nullopt); });
  }

  void Trace(std::string_view what, std::uint64_t value) {
    for (const char c : what) Fold(static_cast<unsigned char>(c));
    Fold(value);
    Fold(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
  }
  [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }

 private:
  void Fold(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001B3ULL; }

  SeededRandom random_;
  TimePoint now_{std::chrono::hours(1)};
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t event_count_ = 0;
  std::uint64_t loss_percent_ = 0;
  std::uint64_t repeat_percent_ = 0;
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

}  // namespace kdn::sim
