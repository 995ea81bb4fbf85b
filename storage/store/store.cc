#include "storage/store/store.h"

#include <algorithm>
#include <string>
#include <utility>

#include "proto/object/chunk_key.h"
#include "storage/disk_tier.h"

namespace kdn::storage {
namespace {

constexpr std::size_t kChangesMax = 8192;
// Of decoded indices, per byte of DRAM.
constexpr std::size_t kIndexCacheShare = 64;
constexpr std::size_t kIndexCacheBytesMin = 1024 * 1024;

constexpr std::byte kCleanStop{1};
constexpr std::byte kRunning{0};

std::string CleanStopName(const ShardOf& shard) {
  return "clean_stop." + std::to_string(shard.shard) + "." + std::to_string(shard.shard_count);
}

std::string ShardLabel(std::uint32_t shard) {
  return "shard=\"" + std::to_string(shard) + "\"";
}

}  // namespace

Store::Metrics::Metrics(MetricRegistry& registry, std::uint32_t shard)
    : objects(registry.GaugeOf("kdn_storage_objects", "Visible objects", ShardLabel(shard))),
      dram_bytes(registry.GaugeOf("kdn_storage_dram_bytes", "Bytes of the DRAM tier in use",
                                  ShardLabel(shard))),
      dirty_bytes(registry.GaugeOf("kdn_storage_dirty_bytes", "Bytes visible but not yet on disk",
                                   ShardLabel(shard))),
      dram_reads(registry.CounterOf("kdn_storage_reads_total",
                                    "Reads by the tier that had to serve",
                                    ShardLabel(shard) + ",tier=\"dram\"")),
      disk_reads(registry.CounterOf("kdn_storage_reads_total",
                                    "Reads by the tier that had to serve",
                                    ShardLabel(shard) + ",tier=\"disk\"")),
      dram_evictions(registry.CounterOf("kdn_storage_evictions_total", "Objects given up by a tier",
                                        ShardLabel(shard) + ",tier=\"dram\"")),
      disk_evictions(registry.CounterOf("kdn_storage_evictions_total", "Objects given up by a tier",
                                        ShardLabel(shard) + ",tier=\"disk\"")),
      corrupt(registry.CounterOf("kdn_storage_corrupt_total",
                                 "Puts refused and segments dropped because they did not verify",
                                 ShardLabel(shard))),
      disk_errors(registry.CounterOf("kdn_storage_disk_errors_total",
                                     "Reads, writes and deletes that the disk failed",
                                     ShardLabel(shard))),
      scrubbed_bytes(registry.CounterOf("kdn_storage_scrubbed_bytes_total",
                                        "Bytes verified in the background", ShardLabel(shard))),
      scrub_passes(registry.CounterOf("kdn_storage_scrub_passes_total",
                                      "Times that everything stored has been verified so",
                                      ShardLabel(shard))) {}

Store::Store(const StoreOptions& options, ShardOf shard, DiskTier* disk,
             const StoreEnvironment& env, Parts parts)
    : options_(options),
      shard_(shard),
      disk_(disk),
      env_(env),
      metrics_(env.metrics, shard.shard),
      arena_(std::move(parts.arena)),
      dram_policy_(std::move(parts.dram_policy)),
      disk_policy_(std::move(parts.disk_policy)),
      indices_(std::max(kIndexCacheBytesMin, options.dram_bytes / kIndexCacheShare)),
      jobs_(disk) {}

Status Store::Recover() {
  if (jobs_.fd() < 0) return Status(Code::kResourceExhausted, "no file descriptor left");
  if (disk_ == nullptr) return {};
  const std::string name = CleanStopName(shard_);
  const auto stopped = disk_->GetValue(name);
  const bool clean = stopped && stopped->size() == 1 && stopped->front() == kCleanStop;
  // A disk that takes no writes now holds what it holds all the same.
  if (const Status marked = disk_->PutValue(name, std::span(&kRunning, 1)); !marked.ok()) {
    env_.log.Write(LogLevel::kError, "the disk takes no writes: what it holds is served",
                   {{"status", marked.ToString()}});
  }
  std::vector<ObjectId> given_way;
  const Status scanned =
      disk_->Scan([&](const ObjectId& id, const ObjectHeader& header, LevelSet levels) {
        if (ShardOfKey(id.key, shard_.shard_count) != shard_.shard) return;
        // A crash between a commit and the delete of what it replaced leaves both.
        if (Record* const other = objects_.Find(NameOf(id))) {
          if (ProvenanceRank(other->header.provenance) >= ProvenanceRank(header.provenance)) {
            given_way.push_back(id);
            return;
          }
          given_way.push_back(other->id);
          UntrackDisk(*other);
          objects_.Erase(*other);
        }
        Record& record = objects_.Insert(id, header);
        record.on_disk = levels;
        TrackDisk(record);
      });
  if (scanned.code() == Code::kDataLoss) {
    env_.log.Write(LogLevel::kError, "damaged objects left out", {{"status", scanned.ToString()}});
  } else {
    KDN_RETURN_IF_ERROR(scanned);
  }
  for (const ObjectId& id : given_way) {
    if (!disk_->Delete(id, kAllLevels).ok()) undeleted_[id] = kAllLevels;
  }
  env_.log.Write(LogLevel::kInfo, "disk tier recovered",
                 {{"shard", std::to_string(shard_.shard)},
                  {"objects", std::to_string(objects_.size())},
                  {"clean_stop", clean ? "true" : "false"}});
  return {};
}

std::uint64_t Store::NowNs() const {
  return static_cast<std::uint64_t>(
      std::chrono::nanoseconds(env_.clock.Now().time_since_epoch()).count());
}

void Store::Note(const Record& record) {
  if (changes_overflowed_) return;
  if (changes_.size() >= kChangesMax) {
    changes_.clear();
    changes_overflowed_ = true;
    return;
  }
  changes_.push_back({record.Describe()});
}

std::size_t Store::Poll(std::span<Completion> completions) {
  jobs_.Poll();
  puts_.Expire(env_.clock.Now());
  RetryWrites();
  RetryDeletes();
  LookAtSuspect();
  Scrub();
  PumpCommits();
  PumpWrites();
  const std::size_t count = std::min(completions.size(), completions_.size());
  for (std::size_t i = 0; i < count; ++i) {
    completions[i] = std::move(completions_.front());
    completions_.pop_front();
  }
  if (!completions_.empty()) jobs_.Wake();
  metrics_.objects.Set(static_cast<std::int64_t>(objects_.size()));
  metrics_.dram_bytes.Set(static_cast<std::int64_t>(arena_->bytes_used()));
  metrics_.dirty_bytes.Set(static_cast<std::int64_t>(dirty_bytes_));
  return count;
}

std::vector<StoredObject> Store::Inventory() const {
  std::vector<StoredObject> objects;
  objects.reserve(objects_.size());
  objects_.ForEach([&](const Record& record) { objects.push_back(record.Describe()); });
  return objects;
}

std::vector<InventoryChange> Store::TakeChanges(bool& overflowed) {
  overflowed = std::exchange(changes_overflowed_, false);
  std::vector<InventoryChange> changes(changes_.begin(), changes_.end());
  changes_.clear();
  return changes;
}

ObjectStore::Usage Store::usage() const {
  Usage usage;
  usage.dram_bytes_used = arena_->bytes_used();
  usage.dram_bytes_total = arena_->memory().size();
  usage.disk_bytes_used = disk_ == nullptr ? 0 : disk_->bytes_used();
  usage.dirty_bytes = dirty_bytes_;
  usage.objects = objects_.size();
  usage.puts_open = puts_.open_count();
  return usage;
}

Status Store::Close() {
  closing_ = true;
  for (const ObjectId& id : std::exchange(waiting_commits_, {})) {
    if (Put* const put = puts_.Find(id)) CompletePut(*put, Code::kCancelled);
  }
  for (const auto& [when, write] : std::exchange(retries_, {})) writes_.push_back(write);
  while (true) {
    jobs_.Poll();
    PumpWrites();
    if (writes_.empty() && jobs_.pending() == 0) break;
    jobs_.Wait();
  }
  if (dirty_bytes_ > 0) return write_back_status_;
  if (disk_ == nullptr) return {};
  return disk_->PutValue(CleanStopName(shard_), std::span(&kCleanStop, 1));
}

Result<std::unique_ptr<ObjectStore>> OpenObjectStore(const StoreOptions& options, ShardOf shard,
                                                     DiskTier* disk, const StoreEnvironment& env) {
  if ((disk == nullptr) != (options.write_mode == WriteMode::kDramOnly)) {
    return Error(Code::kInvalidArgument, "a disk tier is needed unless the store is DRAM only");
  }
  if (shard.shard >= shard.shard_count) {
    return Error(Code::kInvalidArgument, "shard number beyond the number of shards");
  }
  Store::Parts parts;
  KDN_ASSIGN_OR_RETURN(parts.dram_policy, MakeEvictionPolicy(options.policy));
  KDN_ASSIGN_OR_RETURN(parts.disk_policy, MakeEvictionPolicy(options.policy));
  KDN_ASSIGN_OR_RETURN(parts.arena, Arena::Map(options.dram_bytes));
  auto store = std::make_unique<Store>(options, shard, disk, env, std::move(parts));
  if (Status status = store->Recover(); !status.ok()) return std::unexpected(std::move(status));
  return store;
}

}  // namespace kdn::storage
