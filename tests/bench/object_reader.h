// For benches of gets: a real node process that holds objects of one size, which cannot be
// compressed, in DRAM; and readers that get them as a client does, over the transport, and verify
// every byte of header, entries and tiles against their checksums. Ends the program with a line on
// standard error where something fails.
//
// Thread-safety: a StoredObjects is immutable after construction; a reader belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "client/admin/local_cluster.h"
#include "client/core/lookup_result.h"
#include "proto/wire/read.h"
#include "tests/bench/bulk_memory.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"
#include "transport/shm/shared_memory.h"

namespace kdn::bench {

// Prints `what` and ends the program with 2.
[[noreturn]] void Die(const std::string& what);

[[nodiscard]] double MedianOf(std::vector<double> values);

class StoredObjects {
 public:
  struct Shape {
    std::size_t object_bytes = 1 << 20;  // a multiple of 256
    std::size_t count = 128;
    std::uint32_t shards = 1;  // of the node
    std::string congestion{};  // that it sends under; empty: the system's
  };

  explicit StoredObjects(const Shape& shape);
  ~StoredObjects();

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] const client::LookupResult::State& found() const { return found_.state(); }
  [[nodiscard]] const transport::Identity& identity() const { return identity_; }
  // Seconds of processor time that the node's process has used.
  [[nodiscard]] double NodeCpuSeconds() const;

 private:
  void Store(const client::ClientOptions& options);

  const Shape shape_;
  const test::TempDir folder_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  client::LookupResult found_;
  transport::Identity identity_;
};

class ObjectReader {
 public:
  struct Options {
    std::uint32_t depth = 8;  // gets in flight
    // Reads only what shards number `share`, `share` + `shares`, ... of the node have: so do the
    // threads of one client among themselves.
    std::uint32_t share = 0;
    std::uint32_t shares = 1;
    transport::Options transport;
    // Reads into memory that a node of this host can be let into; transport.shared_memory.enabled
    // says whether one is.
    bool shareable = false;
    bool verify = true;  // measures what checksums cost; no client can leave them out
  };

  // `objects` outlives it.
  ObjectReader(const StoredObjects& objects, const Options& options);
  ~ObjectReader();

  // Gets objects, walking through all of them, while `go_on` says so of what it has begun; returns
  // the bytes of values.
  std::size_t Read(const std::function<bool(std::size_t begun)>& go_on);
  // Bytes per second of about so long.
  double Rate(double seconds);
  // Microseconds of each of `count` gets, one after another.
  std::vector<double> Latencies(std::size_t count);

  void set_verify(bool verify) { options_.verify = verify; }

 private:
  void Submit(std::uint32_t slot);
  [[nodiscard]] std::size_t Finish(const transport::Event& event);
  [[nodiscard]] std::size_t Check(std::uint32_t slot, ConstBytes response) const;
  void Wait() const;
  [[nodiscard]] MutableBytes WindowOf(std::uint32_t slot) const;
  void MakeMemory(std::size_t size_bytes);

  const StoredObjects& objects_;
  Options options_;
  const SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  std::size_t window_bytes_ = 0;
  std::unique_ptr<BulkMemory> private_memory_;
  std::unique_ptr<transport::shm::SharedMemory> shareable_memory_;
  MutableBytes memory_;  // either one's
  std::unique_ptr<transport::Domain> domain_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;  // by shard; null: another's
  std::vector<std::size_t> mine_;                              // numbers of the objects to be read
  std::vector<std::size_t> reading_;                           // by slot: number of the object
  wire::Buffer request_;
  std::size_t next_ = 0;
};

}  // namespace kdn::bench
