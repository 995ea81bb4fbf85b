// Goal: between processes of one host gets through shared memory run at 1.5 times what they do
// through TCP, or more: 1 MiB objects of a node's DRAM tier, every tile's checksum verified.
// Method: a real node process holds objects of 1 MiB that cannot be compressed; one client thread
// reads them with some calls in flight and verifies header, entries and tiles of each, over a
// channel that shares its memory and over one that does not, in turns, into memory of one kind.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/bench/object_reader.h"
#include "tests/bench/report.h"

namespace kdn::bench {
namespace {

constexpr double kBar = 1.5;

struct Settings {
  int rounds = 7;
  double seconds = 1.0;
  std::uint32_t depth = 8;
  std::uint32_t connections = 0;
  std::string congestion;
  std::string json;
};

ObjectReader::Options ReaderOptions(const Settings& settings, bool shares) {
  ObjectReader::Options options;
  options.depth = settings.depth;
  options.shareable = true;
  options.transport.connections = settings.connections;
  options.transport.congestion_control = settings.congestion;
  options.transport.shared_memory.enabled = shares;
  return options;
}

int Run(const Settings& settings, const std::string& command) {
  StoredObjects::Shape shape;
  shape.congestion = settings.congestion;
  const StoredObjects objects(shape);
  ObjectReader sharing(objects, ReaderOptions(settings, true));
  ObjectReader apart(objects, ReaderOptions(settings, false));
  sharing.Rate(settings.seconds);  // warms connections and memory
  apart.Rate(settings.seconds);
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int round = 0; round < settings.rounds; ++round) {
    theirs.push_back(apart.Rate(settings.seconds) / 1e9);
    ours.push_back(sharing.Rate(settings.seconds) / 1e9);
    std::printf("round %d: through shared memory %.2f GB/s, through TCP %.2f GB/s\n", round + 1,
                ours.back(), theirs.back());
    std::fflush(stdout);
  }
  Comparison comparison;
  comparison.name = "shared_memory_bench";
  comparison.group = "path";
  comparison.ours = MedianOf(ours);
  comparison.theirs = MedianOf(theirs);
  comparison.unit = "GB/s";
  comparison.ratio = comparison.ours / comparison.theirs;
  comparison.bar = kBar;
  comparison.command = command;
  return Report(comparison, settings.json);
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  CLI::App app("Gets of 1 MiB objects through shared memory against TCP.", "shared_memory_bench");
  app.add_option("--rounds", settings.rounds, "pairs of measurements")->capture_default_str();
  app.add_option("--seconds", settings.seconds, "length of one of them")->capture_default_str();
  app.add_option("--depth", settings.depth, "reads in flight")->capture_default_str();
  app.add_option("--connections", settings.connections, "of each channel; 0: min(cores, 4)");
  app.add_option("--congestion", settings.congestion, "congestion control of TCP")
      ->capture_default_str();
  app.add_option("--json", settings.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  return kdn::bench::Run(settings, kdn::bench::CommandLine(argc, argv));
}
