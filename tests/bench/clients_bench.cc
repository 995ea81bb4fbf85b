// Goal: what one get costs does not depend on the number of clients: from 1 to 64 of them, the
// dearest takes at most a fifth more processor time than the cheapest. Method: a real node process
// holds objects of 64 KiB; clients, each with a connection and a thread of its own, read them four
// at a time and verify them. Processor time of the node and of all clients is taken from the kernel
// and divided by the gets; each number of clients takes its turn in every round, and medians are
// compared.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/bars.h"
#include "tests/bench/object_reader.h"
#include "tests/bench/report.h"

namespace kdn::bench {
namespace {

constexpr double kBar = 1.2;
constexpr std::array<std::size_t, 7> kClients = {1, 2, 4, 8, 16, 32, 64};
constexpr std::size_t kObjectBytes = std::size_t{64} << 10;
constexpr std::size_t kObjects = 1024;

struct Settings {
  BarsOptions bars;
  std::string congestion;
  int rounds = 5;
  double seconds = 0.7;
  std::uint32_t depth = 4;
  std::uint32_t shards = 1;
};

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Cost {
  std::vector<double> node_us;  // of processor time, a get
  std::vector<double> all_us;
  std::vector<double> rate;  // GB/s, all clients together
};

void Measure(const StoredObjects& objects,
             const std::vector<std::unique_ptr<ObjectReader>>& readers, std::size_t clients,
             double seconds, Cost& cost) {
  const double node_before = objects.NodeCpuSeconds();
  const double own_before = OwnCpuSeconds();
  std::vector<double> rates(clients);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < clients; ++i) {
      threads.emplace_back([&, i] { rates[i] = readers[i]->Rate(seconds); });
    }
  }
  double rate = 0;
  for (const double one : rates) rate += one;
  const double gets = rate * seconds / static_cast<double>(kObjectBytes);
  const double node = objects.NodeCpuSeconds() - node_before;
  cost.node_us.push_back(node / gets * 1e6);
  cost.all_us.push_back((node + OwnCpuSeconds() - own_before) / gets * 1e6);
  cost.rate.push_back(rate / 1e9);
}

int Run(const Settings& settings) {
  Bars bars(settings.bars);
  std::array<Cost, kClients.size()> costs;
  {
    const StoredObjects objects({kObjectBytes, kObjects, settings.shards, settings.congestion});
    ObjectReader::Options options;
    options.depth = settings.depth;
    options.transport.connections = 1;
    options.transport.congestion_control = settings.congestion;
    std::vector<std::unique_ptr<ObjectReader>> readers;
    for (std::size_t i = 0; i < kClients.back(); ++i) {
      readers.push_back(std::make_unique<ObjectReader>(objects, options));
    }
    Cost warm;
    Measure(objects, readers, kClients.back(), settings.seconds, warm);
    for (int round = 0; round < settings.rounds; ++round) {
      for (std::size_t i = 0; i < kClients.size(); ++i) {
        Measure(objects, readers, kClients[i], settings.seconds, costs[i]);
      }
    }
  }
  std::vector<double> all;
  Figures figures;
  for (std::size_t i = 0; i < kClients.size(); ++i) {
    all.push_back(MedianOf(costs[i].all_us));
    std::printf(
        "%2zu clients: %.1f us of processor time a get, %.1f of them the node's; %.2f GB/s\n",
        kClients[i], all.back(), MedianOf(costs[i].node_us), MedianOf(costs[i].rate));
    figures.numbers["clients"].push_back(static_cast<double>(kClients[i]));
    figures.numbers["us_per_get"].push_back(all.back());
    figures.numbers["node_us_per_get"].push_back(MedianOf(costs[i].node_us));
    figures.numbers["gb_per_s"].push_back(MedianOf(costs[i].rate));
  }
  bars.Add({"processor time a get with 1 to 64 clients, the dearest against the cheapest",
            *std::ranges::max_element(all), *std::ranges::min_element(all), "us",
            Bar::Side::kAtMost, kBar});
  bars.AddFigures(std::move(figures));
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  settings.bars.name = "clients_bench";
  settings.bars.group = "path";
  settings.bars.command = kdn::bench::CommandLine(argc, argv);
  CLI::App app("What a get costs as clients become more.", "clients_bench");
  app.add_option("--rounds", settings.rounds, "measurements of each")->check(CLI::Range(1, 99));
  app.add_option("--seconds", settings.seconds, "length of one")->capture_default_str();
  app.add_option("--depth", settings.depth, "gets in flight of a client")->capture_default_str();
  app.add_option("--shards", settings.shards, "of the node")->capture_default_str();
  app.add_option("--congestion", settings.congestion, "TCP congestion control");
  app.add_option("--json", settings.bars.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  return kdn::bench::Run(settings);
}
