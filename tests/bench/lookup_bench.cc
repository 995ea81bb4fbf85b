// Goal: a coordinator answers chain lookups of 512 keys over TCP at 10 million keys a second or
// more, a lone one within 120 us, at 4 times the rate of Redis' EXISTS in batches of 64, and as
// fast with 10 million chunks as with 1 million. Method: a whole coordinator with 1 M chunks,
// another with 10 M and a redis-server with 1 M keys; in every round one client thread asks each in
// turn, for 512 keys at a time: one call at a time for the latency, eight in flight for the rate.
// Medians of rounds count. Our client decodes every answer and compares every key's.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/bench/bars.h"
#include "tests/bench/filled_coordinator.h"
#include "tests/bench/redis_exists.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kChunks = 1 << 20;
constexpr std::size_t kManyChunks = 10 << 20;
constexpr int kRounds = 7;
constexpr std::size_t kInFlight = 8;
constexpr double kSeconds = 0.4;  // of each measurement

double Percentile(std::vector<double> values, double share) {
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double Median(const std::vector<double>& values) {
  return Percentile(values, 0.5);
}

void Print(const char* what, const LookupRun& run) {
  std::printf(
      "%-26s %6.2f M keys/s, p50 %3.0f us, p99 %3.0f us; a call takes %.1f us of the "
      "client's processor, %.1f us of the coordinator's\n",
      what, run.keys_per_second / 1e6, Percentile(run.latencies_us, 0.5),
      Percentile(run.latencies_us, 0.99), run.client_us, run.server_us);
}

int Main(const BarsOptions& options) {
  Bars bars(options);
  RunOn(Side::kServers);
  FilledCoordinator some(kChunks);
  FilledCoordinator many(kManyChunks);
  const std::unique_ptr<RedisExists> redis = RedisExists::Start(some.keys());
  if (redis == nullptr) std::printf("SKIPPED: no /usr/bin/redis-server to compare with\n");
  RunOn(Side::kClient);
  std::vector<double> alone_us;
  std::vector<double> rates;
  std::vector<double> rates_of_many;
  std::vector<double> redis_rates;
  for (int round = 0; round < kRounds; ++round) {
    const LookupRun alone = some.Run(1, kSeconds);
    Print("1 M chunks, 1 in flight:", alone);
    alone_us.push_back(Percentile(alone.latencies_us, 0.5));
    const LookupRun run = some.Run(kInFlight, kSeconds);
    Print("1 M chunks, 8 in flight:", run);
    rates.push_back(run.keys_per_second);
    const LookupRun run_of_many = many.Run(kInFlight, kSeconds);
    Print("10 M chunks, 8 in flight:", run_of_many);
    rates_of_many.push_back(run_of_many.keys_per_second);
    if (redis == nullptr) continue;
    redis_rates.push_back(redis->Run(kInFlight, kChainKeys, kSeconds));
    std::printf("%-26s %6.2f M keys/s\n", "Redis, 1 M keys:", redis_rates.back() / 1e6);
  }
  bars.Add({.what = "chain lookup, 512 keys a call, 1 M chunks",
            .ours = Median(rates),
            .theirs = 10e6,
            .unit = "keys/s",
            .bar = 1.0});
  bars.Add({.what = "a lone lookup, p50",
            .ours = Median(alone_us),
            .theirs = 120,
            .unit = "us",
            .side = Bar::Side::kAtMost,
            .bar = 1.0});
  bars.Add({.what = "10 M chunks against 1 M",
            .ours = Median(rates_of_many),
            .theirs = Median(rates),
            .unit = "keys/s",
            .bar = 0.8});
  if (redis != nullptr) {
    bars.Add({.what = "against Redis EXISTS, 64 keys a batch",
              .ours = Median(rates),
              .theirs = Median(redis_rates),
              .unit = "keys/s",
              .bar = 4.0});
  }
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  return kdn::bench::Main(kdn::bench::ParseBarsOptions(
      argc, argv, "Chain lookups of 512 keys over TCP against coordinators and Redis.", "path"));
}
