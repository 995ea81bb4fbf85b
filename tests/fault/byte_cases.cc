// Bytes that change: on disk and on the wire.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "base/random.h"
#include "tests/fault/cases.h"
#include "tests/fault/proxy.h"

namespace kdn::fault {
namespace {

namespace fs = std::filesystem;

// Files of a disk tier in which objects' bytes lie: values, tables and the log of what is not yet
// in either.
std::vector<fs::path> DataFiles(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    const bool data = extension == ".blob" || extension == ".sst" || extension == ".log";
    if (entry.is_regular_file() && data && entry.file_size() > 0) files.push_back(entry.path());
  }
  return files;
}

// Turns `count` bits over, spread over the files by their size.
void FlipBits(const std::vector<fs::path>& files, int count, SeededRandom& random) {
  std::uint64_t total = 0;
  for (const fs::path& file : files) total += fs::file_size(file);
  for (int i = 0; i < count && total > 0; ++i) {
    std::uint64_t at = random.Next() % total;
    for (const fs::path& file : files) {
      const std::uint64_t size = fs::file_size(file);
      if (at >= size) {
        at -= size;
        continue;
      }
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(static_cast<std::streamoff>(at));
      const char byte = static_cast<char>(stream.get() ^ (1 << (random.Next() % 8)));
      stream.seekp(static_cast<std::streamoff>(at));
      stream.put(byte);
      break;
    }
  }
}

}  // namespace

CaseOutcome StoredBitFlip(const CaseOptions& options) {
  constexpr int kFlips = 4;
  auto rig = Rig::Make(RigOf(options, {.nodes = 2}));
  if (!rig) return Broken(0, rig.error().ToString());
  SeededRandom random(11);
  int misses = 0;
  int refused_starts = 0;
  std::uint64_t corrupt = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const std::size_t node = 1 + static_cast<std::size_t>(trial) % 2;
    for (std::uint64_t d = 0; d < 4; ++d) {
      [[maybe_unused]] const auto put = (*rig)->Put(static_cast<std::uint64_t>(trial) * 4 + d);
    }
    // Killed, its last objects are in RocksDB's log; after a clean stop they are in values and
    // tables.
    const int how = trial % 4 < 2 ? SIGKILL : SIGTERM;
    if (!(*rig)->cluster().Signal(node, how).ok()) return Broken(trial, "cannot end a node");
    const fs::path data = fs::path((*rig)->folder()) / ("node" + std::to_string(node));
    FlipBits(DataFiles(data), kFlips, random);
    Status status = (*rig)->cluster().Restart(node);
    if (!status.ok()) {
      // It noticed, and would not serve: an operator gives it an empty folder.
      ++refused_starts;
      fs::remove_all(data);
      status = (*rig)->cluster().Restart(node);
    }
    if (status.ok()) status = (*rig)->cluster().WaitAlive(2, std::chrono::seconds(30));
    if (!status.ok()) return Broken(trial, "the node did not come back: " + status.ToString());
    // Without the other node every byte has to come from the damaged one.
    if (!(*rig)->cluster().Signal(3 - node, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    for (std::uint64_t d = 0; d < 4; ++d) {
      const GetOutcome got = (*rig)->Get(static_cast<std::uint64_t>(trial) * 4 + d);
      if (got.wrong) return Broken(trial, "a flipped bit was delivered");
      misses += got.whole ? 0 : 1;
      corrupt += got.report.pieces_corrupt;
    }
    status = (*rig)->cluster().Restart(3 - node);
    if (status.ok()) status = (*rig)->cluster().WaitAlive(2, std::chrono::seconds(30));
    if (!status.ok()) return Broken(trial, "the other node did not come back");
  }
  return {true, options.trials,
          std::to_string(options.trials * kFlips) + " bits turned over, 0 delivered; " +
              std::to_string(corrupt) + " caught at the client, " + std::to_string(misses) +
              " of " + std::to_string(options.trials * 4) + " gets missed, " +
              std::to_string(refused_starts) + " starts refused",
          ""};
}

CaseOutcome WireBitFlip(const CaseOptions& options) {
  // Nodes say that they are at 127.0.0.2, where proxies listen at the same ports.
  auto rig = Rig::Make(RigOf(
      options, {.nodes = 2,
                // What shares memory does not pass a proxy.
                .node_settings = {"node.advertise_host=127.0.0.2", "node.shared_memory=false"},
                .size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  std::vector<std::unique_ptr<FlippingProxy>> proxies;
  for (std::size_t node = 1; node <= 2; ++node) {
    const std::string said = (*rig)->cluster().daemons()[node].endpoints[0];
    const std::string port = said.substr(said.rfind(':'));
    auto proxy = FlippingProxy::Start("127.0.0.2" + port, "127.0.0.1" + port);
    if (!proxy) return Broken(0, proxy.error().ToString());
    proxies.push_back(*std::move(proxy));
  }
  int misses = 0;
  int refused = 0;
  std::uint64_t corrupt = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    // Large and short ones in turn.
    const auto document = static_cast<std::uint64_t>(trial) + (trial % 2) * Rig::kFirstShort;
    const std::uint64_t put_on_it = document + Rig::kFirstShort / 2;
    // A put over wires that turn bits over is refused, or what it stored is right.
    for (const auto& proxy : proxies) proxy->FlipOneSentBitEvery(500'000);
    const bool acknowledged = (*rig)->Put(put_on_it).ok();
    refused += acknowledged ? 0 : 1;
    for (const auto& proxy : proxies) {
      proxy->FlipOneSentBitEvery(0);
      proxy->FlipOneBitEvery(0);
    }
    const GetOutcome stored = (*rig)->Get(put_on_it);
    if (stored.wrong) return Broken(trial, "a bit that was flipped in a put was delivered");
    if (acknowledged && !stored.whole) return Broken(trial, "an acknowledged put is not whole");
    if (!(*rig)->Put(document).ok()) return Broken(trial, "a put failed");
    // First one node's wire is bad, then both: then only a miss is left.
    proxies[trial % 2]->FlipOneBitEvery(20'000);
    if (trial % 3 == 2) proxies[1 - trial % 2]->FlipOneBitEvery(20'000);
    for (int i = 0; i < 4; ++i) {
      const GetOutcome got = (*rig)->Get(document);
      if (got.wrong) return Broken(trial, "a flipped bit was delivered");
      misses += got.whole ? 0 : 1;
      corrupt += got.report.pieces_corrupt;
    }
  }
  std::uint64_t flips = 0;
  for (const auto& proxy : proxies) flips += proxy->flips();
  if (flips == 0) return Broken(options.trials, "the proxies turned no bit over");
  return {true, options.trials,
          std::to_string(flips) + " bits turned over, 0 delivered; " + std::to_string(corrupt) +
              " caught at the client, " + std::to_string(misses) + " of " +
              std::to_string(options.trials * 4) + " gets missed, " + std::to_string(refused) +
              " of " + std::to_string(options.trials) + " puts on such wires refused",
          ""};
}

}  // namespace kdn::fault
