// A shard's work on the disk: run by the tier's threads, reported on the shard's own. Work that
// changes an object on disk runs one at a time and in order for each object, whatever the number
// of threads; reads overtake.
//
// Thread-safety: owned by one shard. What it shares with the tier's threads is behind a lock.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"

namespace kdn::storage {

struct ObjectIdHash {
  std::size_t operator()(const ObjectId& id) const { return IdHash()(id.key) ^ id.part; }
};

class DiskJobs {
 public:
  // `work` runs on a thread of the tier and touches nothing of the shard; `done` runs in Poll().
  using Work = std::function<Status()>;
  using Done = std::move_only_function<void(Status)>;

  // `tier` may be null if nothing is ever posted, and outlives this.
  explicit DiskJobs(DiskTier* tier);
  ~DiskJobs();  // waits for work that runs; what waits is dropped
  DiskJobs(const DiskJobs&) = delete;
  DiskJobs& operator=(const DiskJobs&) = delete;

  // Never refused: the callers' tables bound it.
  void Change(const ObjectId& id, Work work, Done done);
  // False if the tier's queue is full.
  [[nodiscard]] bool Read(Work work, Done done);

  // Reports what has finished and posts what waits. True if anything was reported.
  bool Poll();
  // Blocks until at least one job has finished, or a millisecond.
  void Wait();
  // Reported or not, what Poll() has not seen yet.
  [[nodiscard]] std::size_t pending() const { return running_.size() + waiting_count_; }

  // Readable after Wake() or when something has finished; Poll() clears it.
  [[nodiscard]] int fd() const { return fd_; }
  void Wake();

 private:
  struct Step {
    Work work;
    Done done;
  };
  struct Running {
    Done done;
    ObjectId id;
    bool changes = false;
  };
  bool Post(const ObjectId& id, bool changes, Work& work, Done& done);
  void StartNext(const ObjectId& id);
  void PostReady();
  void Finish(std::uint64_t number, Status status);

  DiskTier* const tier_;
  int fd_ = -1;
  std::uint64_t next_number_ = 0;
  std::unordered_map<std::uint64_t, Running> running_;
  // Objects with a change that is under way or ready, and what waits behind it.
  std::unordered_map<ObjectId, std::deque<Step>, ObjectIdHash> behind_;
  std::deque<std::pair<ObjectId, Step>> ready_;  // next of its object; the tier had no room
  std::size_t waiting_count_ = 0;                // in behind_ and ready_

  struct Finished {
    std::uint64_t number = 0;
    Status status;
  };
  std::mutex mutex_;
  std::condition_variable finished_some_;
  std::vector<Finished> finished_;  // guarded by mutex_; no longer than running_
  std::size_t unfinished_ = 0;      // guarded by mutex_: posted, Finish() not yet done
};

}  // namespace kdn::storage
