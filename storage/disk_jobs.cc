#include "storage/disk_jobs.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace kdn::storage {

DiskJobs::DiskJobs(DiskTier* tier) : tier_(tier), fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

DiskJobs::~DiskJobs() {
  {
    std::unique_lock lock(mutex_);
    finished_some_.wait(lock, [this] { return unfinished_ == 0; });
  }
  ::close(fd_);
}

void DiskJobs::Wake() {
  const std::uint64_t one = 1;
  // Fails only if the counter is about to overflow, and then it is readable already.
  [[maybe_unused]] const ssize_t written = ::write(fd_, &one, sizeof(one));
}

void DiskJobs::Finish(std::uint64_t number, Status status) {
  // All under the lock: the destructor may run as soon as it sees the count.
  const std::scoped_lock lock(mutex_);
  finished_.push_back({number, std::move(status)});
  Wake();
  --unfinished_;
  finished_some_.notify_all();
}

bool DiskJobs::Post(const ObjectId& id, bool changes, Work& work, Done& done) {
  const std::uint64_t number = next_number_++;
  {
    const std::scoped_lock lock(mutex_);
    ++unfinished_;
  }
  // Known before it is posted: a tier may run it at once.
  running_.emplace(number, Running{std::move(done), id, changes});
  const DiskWork kind = changes ? DiskWork::kChange : DiskWork::kRead;
  if (tier_->Post(kind, [this, number, work] { Finish(number, work()); })) return true;
  done = std::move(running_.at(number).done);
  running_.erase(number);
  const std::scoped_lock lock(mutex_);
  --unfinished_;
  return false;
}

bool DiskJobs::Read(Work work, Done done) {
  return Post({}, false, work, done);
}

void DiskJobs::Change(const ObjectId& id, Work work, Done done) {
  const auto [entry, first] = behind_.try_emplace(id);
  if (first && ready_.empty() && Post(id, true, work, done)) return;
  ++waiting_count_;
  if (first) {
    ready_.emplace_back(id, Step{std::move(work), std::move(done)});
  } else {
    entry->second.push_back({std::move(work), std::move(done)});
  }
}

void DiskJobs::StartNext(const ObjectId& id) {
  const auto entry = behind_.find(id);
  if (entry->second.empty()) {
    behind_.erase(entry);
    return;
  }
  ready_.emplace_back(id, std::move(entry->second.front()));
  entry->second.pop_front();
}

void DiskJobs::PostReady() {
  while (!ready_.empty()) {
    auto& [id, change] = ready_.front();
    if (!Post(id, true, change.work, change.done)) return;
    ready_.pop_front();
    --waiting_count_;
  }
}

bool DiskJobs::Poll() {
  std::uint64_t wakes = 0;
  [[maybe_unused]] const ssize_t cleared = ::read(fd_, &wakes, sizeof(wakes));
  std::vector<Finished> finished;
  {
    const std::scoped_lock lock(mutex_);
    finished.swap(finished_);
  }
  for (Finished& job : finished) {
    auto node = running_.extract(job.number);
    Running& running = node.mapped();
    if (running.changes) StartNext(running.id);
    running.done(std::move(job.status));
  }
  PostReady();
  return !finished.empty();
}

void DiskJobs::Wait() {
  // Not for ever: when the tier's queue is full of other shards' work, none of ours is under way.
  std::unique_lock lock(mutex_);
  finished_some_.wait_for(lock, std::chrono::milliseconds(1),
                          [this] { return !finished_.empty(); });
}

}  // namespace kdn::storage
