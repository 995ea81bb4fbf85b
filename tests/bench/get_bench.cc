// Goal: gets from a node's DRAM tier run at what sockets can do: 1 MiB objects at 0.85 of the
// ceiling and at twice Redis, 64 KiB objects pipelined at 0.75 of the ceiling of their size, one
// object in 1.2 times a bare ping-pong, and verifying every tile costs a tenth at most. Method: a
// real node process with two shards holds objects that cannot be compressed; a client with a thread
// for each shard reads them, some at a time, and verifies header, entries and tiles of each. Beside
// it, without a bar: one thread that reads all, with a mover (transport/lanes). The ceiling is the
// best of a bare send and receive program with 1, 2 and 4 connections, in huge pages as our memory
// is and in small ones, and of iperf3. All sides take turns; medians are compared.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/bars.h"
#include "tests/bench/object_reader.h"
#include "tests/bench/peer_programs.h"
#include "tests/bench/raw_ceiling.h"
#include "tests/bench/report.h"

namespace kdn::bench {
namespace {

constexpr double kCeilingBar = 0.85;
constexpr double kRedisBar = 2.0;
constexpr double kSmallBar = 0.75;
constexpr double kLatencyBar = 1.2;
constexpr double kChecksumBar = 0.9;
constexpr std::size_t kLargeBytes = std::size_t{1} << 20;
constexpr std::size_t kSmallBytes = std::size_t{64} << 10;
constexpr std::size_t kStoredBytes = std::size_t{128} << 20;
constexpr std::uint32_t kSmallRawDepth = 16;  // of each bare connection

struct Settings {
  BarsOptions bars;
  std::string congestion;
  int rounds = 7;
  double seconds = 0.6;
  std::uint32_t shards = 2;
  std::uint32_t readers = 2;
  std::uint32_t depth = 2;
  std::uint32_t small_depth = 16;
  std::size_t pings = 300;
  bool peers = true;
};

struct Samples {
  std::vector<double> large, small, unverified, latency, one_owner;
  std::vector<double> ceiling, small_ceiling, plain, iperf, redis, raw_latency;
};

ObjectReader::Options ReaderOptions(const Settings& settings, std::uint32_t depth) {
  ObjectReader::Options options;
  options.depth = depth;
  options.transport.connections = 1;
  options.transport.congestion_control = settings.congestion;
  return options;
}

// The threads of a client, each with what its shards have.
class Readers {
 public:
  Readers(const StoredObjects& objects, const Settings& settings, std::uint32_t depth) {
    for (std::uint32_t i = 0; i < settings.readers; ++i) {
      ObjectReader::Options options = ReaderOptions(settings, depth);
      options.share = i;
      options.shares = settings.readers;
      readers_.push_back(std::make_unique<ObjectReader>(objects, options));
    }
  }
  // Bytes per second of all together, for about so long.
  double Rate(double seconds) {
    std::vector<double> rates(readers_.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < readers_.size(); ++i) {
        threads.emplace_back([&, i] { rates[i] = readers_[i]->Rate(seconds); });
      }
    }
    return std::accumulate(rates.begin(), rates.end(), 0.0);
  }
  void set_verify(bool verify) {
    for (const auto& reader : readers_) reader->set_verify(verify);
  }

 private:
  std::vector<std::unique_ptr<ObjectReader>> readers_;
};

ObjectReader::Options OneOwnerOptions(const Settings& settings) {
  ObjectReader::Options options = ReaderOptions(settings, settings.depth * settings.readers);
  options.transport.threads = settings.readers;
  return options;
}

class GetBench {
 public:
  explicit GetBench(const Settings& settings)
      : settings_(settings),
        large_({kLargeBytes, kStoredBytes / kLargeBytes, settings.shards, settings.congestion}),
        small_({kSmallBytes, kStoredBytes / kSmallBytes, settings.shards, settings.congestion}),
        large_readers_(large_, settings, settings.depth),
        small_readers_(small_, settings, settings.small_depth),
        one_owner_(large_, OneOwnerOptions(settings)),
        one_reader_(large_, ReaderOptions(settings, 1)) {
    raw_.congestion_control = settings.congestion;
    raw_.total_bytes = std::size_t{1} << 30;
    raw_.huge_pages = true;
    if (settings.peers) redis_ = RedisServer::Start(kLargeBytes, kStoredBytes / kLargeBytes);
    large_readers_.Rate(0.3);  // warms connections and memory
    small_readers_.Rate(0.3);
    one_reader_.Latencies(20);
  }

  void Round(Samples& samples) {
    double ceiling = Positive(RawCeiling(raw_));
    RawCeilingOptions plain = raw_;
    plain.huge_pages = false;
    samples.plain.push_back(Positive(RawCeiling(plain)));
    samples.large.push_back(large_readers_.Rate(settings_.seconds));
    if (settings_.peers && iperf_runs_) {
      samples.iperf.push_back(Iperf3Rate(2, raw_.congestion_control));
    }
    if (!samples.iperf.empty() && samples.iperf.back() < 0) {
      iperf_runs_ = false;
      samples.iperf.clear();
    }
    if (!samples.iperf.empty()) ceiling = std::max(ceiling, samples.iperf.back());
    samples.ceiling.push_back(std::max(ceiling, samples.plain.back()));
    large_readers_.set_verify(false);
    samples.unverified.push_back(large_readers_.Rate(settings_.seconds));
    large_readers_.set_verify(true);
    samples.one_owner.push_back(one_owner_.Rate(settings_.seconds));
    if (redis_ != nullptr) {
      samples.redis.push_back(std::max(redis_->GetRate(2, 1500), redis_->GetRate(4, 1500)));
    }
    RawCeilingOptions small = raw_;
    small.object_bytes = kSmallBytes;
    small.depth = kSmallRawDepth;
    small.total_bytes = raw_.total_bytes / 2;
    samples.small_ceiling.push_back(Positive(RawCeiling(small)));
    samples.small.push_back(small_readers_.Rate(settings_.seconds));
    samples.raw_latency.push_back(MedianOf(RawPingPong(raw_, settings_.pings)));
    samples.latency.push_back(MedianOf(one_reader_.Latencies(settings_.pings)));
  }

 private:
  static double Positive(double rate) {
    if (rate < 0) Die("no bare sockets to compare with");
    return rate;
  }

  const Settings settings_;
  RawCeilingOptions raw_;
  bool iperf_runs_ = true;
  StoredObjects large_;
  StoredObjects small_;
  Readers large_readers_;
  Readers small_readers_;
  ObjectReader one_owner_;
  ObjectReader one_reader_;
  std::unique_ptr<RedisServer> redis_;
};

void PrintRound(int round, const Samples& all) {
  const auto gb = [](const std::vector<double>& rates) {
    return rates.empty() ? 0.0 : rates.back() / 1e9;
  };
  std::printf(
      "round %d, GB/s: gets %.2f (not verified %.2f, one owner %.2f), ceiling %.2f (small pages "
      "%.2f, iperf3 %.2f), "
      "Redis %.2f; 64 KiB %.2f, ceiling %.2f; one get %.0f us, ping-pong %.0f us\n",
      round, gb(all.large), gb(all.unverified), gb(all.one_owner), gb(all.ceiling), gb(all.plain),
      gb(all.iperf), gb(all.redis), gb(all.small), gb(all.small_ceiling), all.latency.back(),
      all.raw_latency.back());
}

Figures FiguresOf(const Samples& all) {
  return {{},
          {{"get_1m", all.large},
           {"get_1m_unverified", all.unverified},
           {"get_1m_one_owner", all.one_owner},
           {"get_64k", all.small},
           {"get_1m_us", all.latency},
           {"ceiling", all.ceiling},
           {"ceiling_small_pages", all.plain},
           {"iperf3", all.iperf},
           {"redis", all.redis},
           {"ceiling_64k", all.small_ceiling},
           {"ping_pong_us", all.raw_latency}}};
}

int Run(const Settings& settings) {
  Bars bars(settings.bars);
  Samples all;
  {
    GetBench bench(settings);
    for (int round = 0; round < settings.rounds; ++round) {
      bench.Round(all);
      PrintRound(round + 1, all);
    }
  }
  const auto add = [&](const std::string& what, const std::vector<double>& ours,
                       const std::vector<double>& theirs, const std::string& unit, double scale,
                       Bar::Side side, double bar) {
    bars.Add({what, MedianOf(ours) * scale, MedianOf(theirs) * scale, unit, side, bar});
  };
  const auto least = Bar::Side::kAtLeast;
  add("get 1 MiB against the ceiling", all.large, all.ceiling, "GB/s", 1e-9, least, kCeilingBar);
  if (all.redis.empty()) {
    std::printf("  SKIPPED get 1 MiB against Redis: it is not here\n");
  } else {
    add("get 1 MiB against redis-benchmark GET", all.large, all.redis, "GB/s", 1e-9, least,
        kRedisBar);
  }
  add("get 64 KiB, pipelined, against the ceiling", all.small, all.small_ceiling, "GB/s", 1e-9,
      least, kSmallBar);
  add("one get of 1 MiB, p50, against a ping-pong", all.latency, all.raw_latency, "us", 1,
      Bar::Side::kAtMost, kLatencyBar);
  add("get 1 MiB, verified against not verified", all.large, all.unverified, "GB/s", 1e-9, least,
      kChecksumBar);
  bars.AddFigures(FiguresOf(all));
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  settings.bars.name = "get_bench";
  settings.bars.group = "path";
  settings.bars.command = kdn::bench::CommandLine(argc, argv);
  CLI::App app("Gets of objects from a node's DRAM against bare sockets and Redis.", "get_bench");
  app.add_option("--rounds", settings.rounds, "measurements of each")->check(CLI::Range(1, 99));
  app.add_option("--seconds", settings.seconds, "length of one of ours")->capture_default_str();
  app.add_option("--shards", settings.shards, "of the node")->capture_default_str();
  app.add_option("--readers", settings.readers, "threads of the client")->check(CLI::Range(1, 64));
  app.add_option("--depth", settings.depth, "gets of 1 MiB in flight, of a thread");
  app.add_option("--small-depth", settings.small_depth, "gets of 64 KiB in flight, of a thread");
  app.add_option("--congestion", settings.congestion, "TCP congestion control");
  app.add_flag("--peers,!--no-peers", settings.peers, "measure Redis and iperf3, too");
  app.add_option("--json", settings.bars.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  return kdn::bench::Run(settings);
}
