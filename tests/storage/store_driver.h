// Drives an ObjectStore as a node's shard would, for tests: whole puts, commits and reads with
// their completions, and a check of every byte that a read answers.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/test_object.h"

namespace kdn::storage::test {

using kdn::test::MakeObject;
using kdn::test::ObjectOptions;
using kdn::test::TestObject;

inline constexpr Range kEverything{0, 0xFFFF};

[[nodiscard]] ObjectId IdOf(const TestObject& object);
[[nodiscard]] ReadRequest WholeRead(const TestObject& object, LevelSet levels = kAllLevels);

// Objects of one chain, each the parent of the next.
[[nodiscard]] std::vector<TestObject> MakeChain(std::size_t count, std::size_t size_bytes,
                                                std::uint64_t seed);

// Whether the answer's tiles are exactly those of `object` at the answer's levels that the request
// names, in the order that ReadResult promises, and verify. An empty string if so, else what is
// wrong.
[[nodiscard]] std::string Wrong(const ReadResult& result, const TestObject& object,
                                const ReadRequest& request);

class StoreDriver {
 public:
  StoreDriver(const StoreOptions& options, DiskTier* disk, ShardOf shard = {});

  [[nodiscard]] Status Open();
  ObjectStore& store() { return *store_; }
  ObjectStore* operator->() { return store_.get(); }
  kdn::test::ManualClock& clock() { return clock_; }
  [[nodiscard]] TimePoint Soon() const { return clock_.Now() + std::chrono::seconds(10); }

  // Fills the object's memory in one piece; the digest if it verified.
  Result<std::optional<ObjectDigest>> Fill(const TestObject& object);
  // Fill() and Commit() under a tag of its own; returns the commit's code.
  Code Put(const TestObject& object, LevelSet* on_disk = nullptr);
  // Starts the read and waits for it.
  Result<std::unique_ptr<ReadResult>> Read(const ReadRequest& request);
  // Reads all levels, checks every tile, releases. False for a miss; fails the test if wrong.
  bool Has(const TestObject& object);
  // The completion of this tag; polls and waits until it is there.
  Completion Wait(std::uint64_t tag);
  // Polls once and keeps what comes for Wait(). True if that tag has come.
  bool PollFor(std::uint64_t tag);
  std::uint64_t NextTag() { return ++last_tag_; }
  // Called whenever Wait() has to wait, where time and the disk move on this thread only.
  void PumpWith(std::function<void()> pump) { pump_ = std::move(pump); }
  // Ends the store as a crash would, without Close().
  void Reset() { store_.reset(); }

 private:
  StoreOptions options_;
  DiskTier* disk_;
  ShardOf shard_;
  kdn::test::ManualClock clock_;
  NullLog log_;
  MetricRegistry metrics_;
  std::unique_ptr<ObjectStore> store_;
  std::uint64_t last_tag_ = 0;
  std::vector<Completion> kept_;
  std::function<void()> pump_;
};

}  // namespace kdn::storage::test
