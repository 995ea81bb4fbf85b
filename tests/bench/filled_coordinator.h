// A whole coordinator in this process (its own threads, metastore, gRPC) that two nodes have told
// of chunks, and a client of it over TCP that looks up chains of 512 keys, one after the other or
// several in flight, and compares every answer with what was told; and puts chunks that these nodes
// say they have. The nodes are inventories and a server that agrees to whatever it is told: no byte
// is stored.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/ids.h"

namespace kdn::bench {

inline constexpr std::size_t kChainKeys = 512;

struct LookupRun {
  double keys_per_second = 0.0;
  std::vector<double> latencies_us;  // one per call
  double client_us = 0.0;            // of processor time per call, of the client's thread
  double server_us = 0.0;            // and of all others
};

// Which processors the calling thread, and threads and processes that it starts from now on, run
// on: servers on all but the last, a client on that one, so that a machine with other things to do
// does not put both sides on one. No effect on a machine with one.
enum class Side { kServers, kClient };
void RunOn(Side side);

class FilledCoordinator {
 public:
  // Ends the program if anything fails, as do all methods.
  explicit FilledCoordinator(std::size_t chunk_count);
  ~FilledCoordinator();

  [[nodiscard]] LookupRun Run(std::size_t calls_in_flight, double seconds);

  // One lone lookup, PutStart and PutCommit of 32 new chunks, and an inventory in which both nodes
  // have evicted 512 chunks: microseconds of each, as the caller sees it. The chunks evicted are
  // told again, and those put evicted, before the next.
  [[nodiscard]] double LookupOnce();
  [[nodiscard]] double PutOnce();
  [[nodiscard]] double EvictOnce();

  // Of all chains, one after the other.
  [[nodiscard]] const std::vector<ChunkKey>& keys() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kdn::bench
