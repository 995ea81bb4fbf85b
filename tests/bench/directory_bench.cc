// Goal: what the coordinator's directory costs does not grow with what it knows: 10 M chunk
// locations at 200 bytes each or less, and a lookup of 512 keys, a put of 32 chunks and the
// eviction of 512 that take as long with 10 M chunks as with 10 k. Method: the memory is what the
// process grows by while a core is told of 10 M chunks. For time four whole coordinators with 10 k
// to 10 M chunks, asked over TCP and gRPC one call at a time, in turns; of each operation the
// median. scripts/plot_directory.py draws what this writes.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "coordinator/core/core.h"
#include "tests/bench/bars.h"
#include "tests/bench/filled_coordinator.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kLocations = 10'000'000;
constexpr std::size_t kEntriesPerBatch = 4096;
constexpr std::size_t kSizes[] = {10'000, 100'000, 1'000'000, 10'000'000};
constexpr int kRounds = 40;
constexpr int kLookupsPerRound = 20;

std::size_t ResidentBytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

// What a call takes undisturbed, on a machine that does other things too: a tenth of them take
// less.
double Undisturbed(std::vector<double> values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 10);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

coordinator::Registered Join(coordinator::Core& core, Random& random, TimePoint now) {
  coordinator::Actions actions;
  coordinator::NodeDescription node;
  node.uuid = RandomId<PeerId>(random);
  node.shards = {"127.0.0.1:1"};
  node.dram_bytes = 1 << 30;
  core.Register(node, coordinator::ReplyId{1}, now, actions);
  const auto writes = std::exchange(actions.writes, {});
  for (const auto& write : writes) core.OnWritten(write.id, Status(), now, actions);
  return std::get<coordinator::Registered>(*actions.answers.at(0).body);
}

// By how many bytes the process grows per chunk that a core is told of.
double BytesPerLocation() {
  SeededRandom random(3);
  coordinator::HardState state;
  state.epoch = Epoch{1};
  state.cluster = RandomId<ClusterId>(random);
  const TimePoint now{};
  auto core = coordinator::Core::Make({}, state, random, now);
  const NodeId node = Join(**core, random, now).node;
  coordinator::InventoryBatch batch{.node = node, .full = true, .first = true, .entries = {}};
  batch.entries.reserve(kEntriesPerBatch);
  const std::size_t before = ResidentBytes();
  for (std::size_t told = 0; told < kLocations; told += batch.entries.size()) {
    batch.entries.clear();
    while (batch.entries.size() < std::min(kEntriesPerBatch, kLocations - told)) {
      wire::InventoryEntry& entry = batch.entries.emplace_back();
      entry.tenant = TenantId{7};
      entry.key = RandomId<ChunkKey>(random);
      entry.parent = RandomId<ChunkKey>(random);
      entry.put_id = RandomId<PutId>(random);
      entry.token_count = 256;
      entry.provenance = kExactProvenance;
      entry.level_bytes = {1, 2, 3, 4};
      entry.in_dram = entry.on_disk = kAllLevels;
    }
    batch.last = told + batch.entries.size() == kLocations;
    ++batch.sequence;
    (void)(*core)->OnInventory(batch, now);
    batch.first = false;
  }
  const auto grown = static_cast<double>(ResidentBytes() - before);
  const coordinator::DirectorySize size = (*core)->directory().size();
  if (size.locations != kLocations) std::abort();
  std::printf("%zu locations: %.1f bytes each resident, %.1f by the directory's own count\n",
              kLocations, grown / kLocations,
              static_cast<double>(size.memory_bytes) / static_cast<double>(kLocations));
  return grown / kLocations;
}

struct Times {
  std::vector<double> lookup;  // of 512 keys
  std::vector<double> put;     // of 32 chunks
  std::vector<double> evict;   // of 512 chunks on two nodes
};

int Main(const BarsOptions& options) {
  Bars bars(options);
  bars.Add({.what = "a chunk location in the directory",
            .ours = BytesPerLocation(),
            .theirs = 200,
            .unit = "bytes",
            .side = Bar::Side::kAtMost,
            .bar = 1.0});
  std::vector<std::unique_ptr<FilledCoordinator>> coordinators;
  for (const std::size_t size : kSizes) {
    coordinators.push_back(std::make_unique<FilledCoordinator>(size));
  }
  std::vector<Times> times(coordinators.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < coordinators.size(); ++i) {
      for (int n = 0; n < kLookupsPerRound; ++n) {
        times[i].lookup.push_back(coordinators[i]->LookupOnce());
      }
      for (int n = 0; n < 4; ++n) times[i].put.push_back(coordinators[i]->PutOnce());
      for (int n = 0; n < 4; ++n) times[i].evict.push_back(coordinators[i]->EvictOnce());
    }
  }
  Figures figures;
  for (std::size_t i = 0; i < coordinators.size(); ++i) {
    const double lookup = Undisturbed(times[i].lookup);
    const double put = Undisturbed(times[i].put);
    const double evict = Undisturbed(times[i].evict);
    std::printf(
        "%9zu chunks: lookup of 512 keys %6.1f us, put of 32 chunks %6.1f us, eviction of "
        "512 %6.1f us\n",
        kSizes[i], lookup, put, evict);
    figures.numbers["chunks"].push_back(static_cast<double>(kSizes[i]));
    figures.numbers["lookup_us"].push_back(lookup);
    figures.numbers["put_us"].push_back(put);
    figures.numbers["evict_us"].push_back(evict);
  }
  for (const char* operation : {"lookup", "put", "evict"}) {
    const std::vector<double>& all = figures.numbers[std::string(operation) + "_us"];
    bars.Add({.what = std::string(operation) + ", the dearest size against the cheapest",
              .ours = *std::ranges::max_element(all),
              .theirs = *std::ranges::min_element(all),
              .unit = "us",
              .side = Bar::Side::kAtMost,
              .bar = 1.2});
  }
  bars.AddFigures(figures);
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  return kdn::bench::Main(kdn::bench::ParseBarsOptions(
      argc, argv, "What the coordinator's directory costs as it grows.", "path"));
}
