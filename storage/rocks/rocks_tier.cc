// The disk tier over RocksDB with BlobDB. records.h says how objects lie in it.
#include "storage/rocks/rocks_tier.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "storage/rocks/database.h"
#include "storage/rocks/format.h"
#include "storage/rocks/records.h"
#include "storage/worker_pool.h"

namespace kdn::storage {
namespace {

constexpr std::string_view kValuePrefix = "value/";
// Of the file system, left free: one part in so many, but no more bytes than this.
constexpr std::uint64_t kFreeShare = 20;
constexpr std::uint64_t kFreeBytesMax = 1024 * limits::kMiB;
// Of that, what only others can have taken: what is deleted here comes free long before.
constexpr std::uint64_t kCrowdedShare = 4;

std::uint64_t LeftFree(const rocks::Database::Space& space) {
  return std::min(space.bytes / kFreeShare, kFreeBytesMax);
}

rocksdb::Slice AsSlice(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> CopyOf(std::string_view value) {
  const ConstBytes bytes = AsBytes(value);
  return {bytes.begin(), bytes.end()};
}

// Memory that a read needs beside its target.
struct ReadScratch {
  rocks::DirectReader direct;
  std::string copy;
};

// The scratch of reads that are over, for those to come: at most one per thread that reads.
//
// Thread-safety: safe.
class ScratchPool {
 public:
  std::unique_ptr<ReadScratch> Take() {
    const std::scoped_lock lock(mutex_);
    if (idle_.empty()) return std::make_unique<ReadScratch>();
    std::unique_ptr<ReadScratch> scratch = std::move(idle_.back());
    idle_.pop_back();
    return scratch;
  }
  void Give(std::unique_ptr<ReadScratch> scratch) {
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<ReadScratch>> idle_;  // guarded by mutex_
};

// Hands out the runs of a target front to back, cut to what is asked for.
class Target {
 public:
  explicit Target(std::span<const MutableBytes> runs) : runs_(runs) {
    for (const MutableBytes run : runs) bytes_left_ += run.size();
  }

  [[nodiscard]] std::size_t bytes_left() const { return bytes_left_; }
  // Valid until the next call.
  [[nodiscard]] std::span<const MutableBytes> Next(std::size_t size_bytes) {
    taken_.clear();
    bytes_left_ -= size_bytes;
    while (size_bytes > 0) {
      const MutableBytes room = runs_.front().subspan(skipped_);
      const std::size_t taken = std::min(room.size(), size_bytes);
      if (taken > 0) taken_.push_back(room.first(taken));
      skipped_ += taken;
      size_bytes -= taken;
      if (taken == room.size()) runs_ = runs_.subspan(1), skipped_ = 0;
    }
    return taken_;
  }

 private:
  std::span<const MutableBytes> runs_;
  std::size_t skipped_ = 0;  // of the first
  std::size_t bytes_left_ = 0;
  std::vector<MutableBytes> taken_;
};

// Cuts a segment that lies in runs into slices for RocksDB, without copying.
class Slicer {
 public:
  explicit Slicer(std::span<const ConstBytes> runs) : runs_(runs) {}

  [[nodiscard]] bool AtEnd() {
    while (!runs_.empty() && skipped_ == runs_.front().size()) {
      runs_ = runs_.subspan(1);
      skipped_ = 0;
    }
    return runs_.empty();
  }
  // The next slice, in pieces that are valid until the next call. Requires: not AtEnd().
  [[nodiscard]] std::span<const rocksdb::Slice> Next() {
    pieces_.clear();
    for (std::size_t left = rocks::kSliceBytes; left > 0 && !AtEnd();) {
      const ConstBytes run = runs_.front().subspan(skipped_);
      const std::size_t taken = std::min(left, run.size());
      pieces_.push_back(AsSlice(run.first(taken)));
      skipped_ += taken;
      left -= taken;
      bytes_ += taken;
    }
    return pieces_;
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::span<const ConstBytes> runs_;
  std::size_t skipped_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<rocksdb::Slice> pieces_;
};

class RocksTier final : public DiskTier {
 public:
  RocksTier(const DiskOptions& options, rocksdb::Env* env)
      : options_(options), db_(options.folder, env) {}
  ~RocksTier() override { static_cast<void>(Close()); }

  Status Open();
  Status Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) override;
  Status Read(const ObjectId& id, Level level, std::uint64_t offset,
              std::span<const MutableBytes> out) override;
  Status Delete(const ObjectId& id, LevelSet levels) override;
  Status Scan(const Visitor& visit) override;
  Status PutValue(std::string_view name, ConstBytes value) override;
  Result<std::vector<std::byte>> GetValue(std::string_view name) override;
  std::uint64_t bytes_used() const override { return bytes_used_.load(); }
  std::uint64_t bytes_max() const override {
    return options_.bytes_max == 0 ? room_.load() : std::min(options_.bytes_max, room_.load());
  }
  bool crowded() const override { return crowded_.load(); }
  Status Reclaim() override;
  bool Post(DiskWork kind, std::function<void()> work) override {
    return (kind == DiskWork::kRead ? readers_ : writers_)->Post(std::move(work));
  }
  Status ReleaseMemory() override;
  Status Close() override;

 private:
  Status CheckFormat();
  // What the file system has room for, after this much has been written.
  void JudgeRoom(std::uint64_t bytes_written);
  // Looks whether others have filled the file system.
  bool LookForOthers();
  Result<rocks::DecodedRecord> GetRecord(const std::string& name);
  Status ReadSlices(const ObjectId& id, Level level, std::uint64_t offset,
                    std::span<const MutableBytes> out, ReadScratch& scratch);
  Status Commit(bool sync, const std::function<void(rocks::Database::Batch&)>& fill);
  // The thread that reclaims now and then.
  void ReclaimAtTimes();
  // Deletes every object of which a value is damaged.
  void Mend();
  bool IsDamaged(const ObjectId& id);

  const DiskOptions options_;
  rocks::Database db_;
  ScratchPool scratch_;
  std::unique_ptr<WorkerPool> readers_;
  std::unique_ptr<WorkerPool> writers_;
  std::atomic<std::uint64_t> bytes_used_{0};
  std::atomic<std::uint64_t> bytes_writing_{0};  // by writes under way
  std::atomic<std::uint64_t> room_{0};           // for bytes_used_, by the file system
  std::atomic<bool> crowded_{false};
  std::mutex deleting_;  // a delete reads a record and writes it again

  std::mutex reclaiming_;                           // one at a time
  std::atomic<std::uint8_t> levels_to_reclaim_{0};  // of which something was deleted since
  std::mutex closing_mutex_;
  std::condition_variable closed_;
  bool closing_ = false;  // guarded by closing_mutex_
  std::thread reclaimer_;
};

Status RocksTier::Open() {
  KDN_RETURN_IF_ERROR(db_.Open());
  KDN_RETURN_IF_ERROR(CheckFormat());
  std::uint64_t bytes = 0;
  const Status scanned = Scan([&](const ObjectId&, const ObjectHeader& header, LevelSet levels) {
    bytes += kObjectHeaderBytes + SumOfLevels(header.level_bytes, levels);
  });
  // What is damaged is left out, as in every later Scan().
  if (!scanned.ok() && scanned.code() != Code::kDataLoss) return scanned;
  bytes_used_ = bytes;
  JudgeRoom(0);
  const std::uint32_t threads = std::max(options_.threads, 1U);
  const std::uint32_t queue_depth = std::max(options_.queue_depth, 1U);
  readers_ = std::make_unique<WorkerPool>(threads, queue_depth);
  writers_ = std::make_unique<WorkerPool>(threads, queue_depth);
  levels_to_reclaim_ = kAllLevels.bits();  // what was deleted before the last stop
  if (options_.reclaim_every.count() > 0) reclaimer_ = std::thread([this] { ReclaimAtTimes(); });
  return {};
}

Status RocksTier::CheckFormat() {
  const auto version = rocks::ReadFormat(db_, options_.folder);
  if (!version) return version.error();
  return *version == 0 ? rocks::WriteFormat(db_) : Status();
}

void RocksTier::JudgeRoom(std::uint64_t bytes_written) {
  const rocks::Database::Space space = db_.FileSystemSpace();
  const std::uint64_t left_free = LeftFree(space);
  const std::uint64_t used = bytes_used_.load();
  if (space.bytes_free >= left_free) {
    const std::uint64_t room = space.bytes_free - left_free;
    room_ = used + std::min(room, std::numeric_limits<std::uint64_t>::max() - used);
  } else {
    // Not all that is missing at once: what is deleted comes free only when compaction meets it,
    // and until then it would look as if ever more had to go. And as much as was written may always
    // take the place of what is there.
    const std::uint64_t spared = used - std::min(used, bytes_written);
    room_ = used - std::min({spared, left_free - space.bytes_free, bytes_written});
  }
}

bool RocksTier::LookForOthers() {
  const rocks::Database::Space space = db_.FileSystemSpace();
  const bool crowded = space.bytes_free < LeftFree(space) / kCrowdedShare;
  if (crowded_.exchange(crowded) == crowded) return crowded;
  // Some of what is missing may be deleted values of our own: now none is too little to reclaim.
  if (crowded) levels_to_reclaim_ = kAllLevels.bits();
  if (!crowded) JudgeRoom(0);  // what was judged beside them holds no longer
  return crowded;
}

Result<rocks::DecodedRecord> RocksTier::GetRecord(const std::string& name) {
  Result<rocks::DecodedRecord> record = Error(Code::kNotFound);
  Status got = db_.Get(rocks::Family::kObjects, name,
                       [&](std::string_view value) { record = rocks::DecodeRecord(name, value); });
  if (!got.ok()) return std::unexpected(std::move(got));
  return record;
}

Status RocksTier::Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) {
  KDN_RETURN_IF_ERROR(db_.EnsureWritable());
  const std::string name = rocks::NameKey(id);
  const auto present = GetRecord(name);  // of the same bytes: put ids have one encoding each
  const LevelSet there = present ? present->levels : LevelSet();
  rocks::ObjectRecord record{.levels = there, .header = header};
  std::uint64_t bytes = present ? 0 : header.size();
  for (const LevelInfo& info : Levels()) {
    if (there.Has(info.level)) continue;
    for (const ConstBytes run : segments[static_cast<std::size_t>(info.level)]) {
      bytes += run.size();
      if (!run.empty()) record.levels.Add(info.level);
    }
  }
  if (record.levels.empty()) return Status(Code::kInvalidArgument, "an object without segments");
  if (record.levels == there) return {};
  // What RocksDB's log was given before is soon used; giving up objects makes no room in time.
  if (LookForOthers()) return Status(Code::kResourceExhausted, "others fill the file system");
  const auto fill = [&](rocks::Database::Batch& batch) {
    std::string key = name;
    for (const LevelInfo& info : Levels()) {
      if (there.Has(info.level)) continue;
      Slicer slicer(segments[static_cast<std::size_t>(info.level)]);
      for (std::uint32_t slice = 0; !slicer.AtEnd(); ++slice) {
        rocks::SetSlice(key, slice);
        batch.Put(rocks::FamilyOf(info.level), key, slicer.Next());
      }
    }
    batch.Put(rocks::Family::kObjects, name, rocks::EncodeRecord(name, record));
  };
  const std::uint64_t writing = bytes_writing_.fetch_add(bytes) + bytes;
  Status status(Code::kOutOfRange, "the disk tier is full");
  if (bytes_used_.load() + writing > bytes_max()) JudgeRoom(0);  // space may have come back
  if (bytes_used_.load() + writing <= bytes_max()) status = Commit(options_.sync, fill);
  if (status.ok()) {
    bytes_used_ += bytes;
    JudgeRoom(bytes);
  }
  bytes_writing_ -= bytes;
  return status;
}

Status RocksTier::Read(const ObjectId& id, Level level, std::uint64_t offset,
                       std::span<const MutableBytes> out) {
  std::unique_ptr<ReadScratch> scratch = scratch_.Take();
  Status status = ReadSlices(id, level, offset, out, *scratch);
  scratch_.Give(std::move(scratch));
  return status;
}

Status RocksTier::ReadSlices(const ObjectId& id, Level level, std::uint64_t offset,
                             std::span<const MutableBytes> out, ReadScratch& scratch) {
  std::string key = rocks::NameKey(id);
  Target target(out);
  auto slice = static_cast<std::uint32_t>(offset / rocks::kSliceBytes);
  std::size_t skipped = offset % rocks::kSliceBytes;
  for (bool found = false; target.bytes_left() > 0; found = true, skipped = 0) {
    rocks::SetSlice(key, slice++);
    std::size_t size = 0;
    std::optional<rocks::BlobPlace> place;
    const Status got = db_.Locate(
        rocks::FamilyOf(level), key,
        [&](std::string_view value) {
          size = value.size();
          if (size <= skipped) return;
          ConstBytes bytes = AsBytes(value).subspan(skipped);
          bytes = bytes.first(std::min(bytes.size(), target.bytes_left()));
          for (const MutableBytes run : target.Next(bytes.size())) {
            std::memcpy(run.data(), bytes.data(), run.size());
            bytes = bytes.subspan(run.size());
          }
        },
        scratch.copy, place);
    if (place) size = place->size_bytes();
    if ((got.ok() && size <= skipped) || (found && got.code() == Code::kNotFound)) {
      return Status(Code::kDataLoss, "segment is cut");
    }
    KDN_RETURN_IF_ERROR(got);
    if (!place) continue;
    const auto runs = target.Next(std::min(size - skipped, target.bytes_left()));
    KDN_RETURN_IF_ERROR(place->Read(skipped, runs, scratch.direct));
  }
  return {};
}

Status RocksTier::Delete(const ObjectId& id, LevelSet levels) {
  const std::scoped_lock lock(deleting_);
  const std::string name = rocks::NameKey(id);
  const auto record = GetRecord(name);
  if (!record) return record.error().code() == Code::kNotFound ? Status() : record.error();
  const LevelSet deleted = record->levels & levels;
  const bool all = deleted == record->levels;
  // Not synced: should a delete get lost in a crash of the machine, what comes back is intact.
  KDN_RETURN_IF_ERROR(Commit(/*sync=*/false, [&](rocks::Database::Batch& batch) {
    std::string key = name;
    LevelSet left = record->levels;
    for (const LevelInfo& info : Levels()) {
      if (!deleted.Has(info.level)) continue;
      left.Remove(info.level);
      const std::uint32_t count =
          rocks::SliceCount(SumOfLevels(record->header.level_bytes, info.level));
      for (std::uint32_t slice = 0; slice < count; ++slice) {
        rocks::SetSlice(key, slice);
        batch.Delete(rocks::FamilyOf(info.level), key);
      }
    }
    if (all) {
      batch.Delete(rocks::Family::kObjects, name);
    } else {
      batch.Put(rocks::Family::kObjects, name,
                rocks::EncodeRecord(name, {left, EncodeHeader(record->header)}));
    }
  }));
  levels_to_reclaim_ |= deleted.bits();
  bytes_used_ -= SumOfLevels(record->header.level_bytes, deleted) + (all ? kObjectHeaderBytes : 0);
  return {};
}

Status RocksTier::Scan(const Visitor& visit) {
  std::uint64_t damaged = 0;
  KDN_RETURN_IF_ERROR(
      db_.ForEach(rocks::Family::kObjects, [&](std::string_view name, std::string_view value) {
        const auto record = rocks::DecodeRecord(name, value);
        if (record) {
          visit(*rocks::ParseNameKey(name), record->header, record->levels);
        } else {
          ++damaged;
        }
      }));
  if (damaged == 0) return {};
  return Status(Code::kDataLoss, std::to_string(damaged) + " damaged records left out");
}

Status RocksTier::Commit(bool sync, const std::function<void(rocks::Database::Batch&)>& fill) {
  Status status = db_.Write(sync, fill);
  // With a full queue, a later write will find it still to be done.
  if (db_.to_mend()) static_cast<void>(writers_->Post([this] { Mend(); }));
  return status;
}

void RocksTier::Mend() {
  if (!db_.TakeMending()) return;
  std::vector<ObjectId> objects;
  static_cast<void>(
      Scan([&](const ObjectId& id, const ObjectHeader&, LevelSet) { objects.push_back(id); }));
  // The stores over this tier find them gone when they read them next: a miss.
  for (const ObjectId& id : objects) {
    if (IsDamaged(id)) static_cast<void>(Delete(id, kAllLevels));
  }
  db_.MendDone();
}

bool RocksTier::IsDamaged(const ObjectId& id) {
  std::string key = rocks::NameKey(id);
  const auto record = GetRecord(key);
  if (!record) return false;
  for (const LevelInfo& info : Levels()) {
    if (!record->levels.Has(info.level)) continue;
    const std::uint32_t count =
        rocks::SliceCount(SumOfLevels(record->header.level_bytes, info.level));
    for (std::uint32_t slice = 0; slice < count; ++slice) {
      rocks::SetSlice(key, slice);
      const Status got =
          db_.Get(rocks::FamilyOf(info.level), key, [](std::string_view) {}, /*verify=*/true);
      if (got.code() == Code::kDataLoss || got.code() == Code::kNotFound) return true;
    }
  }
  return false;
}

Status RocksTier::PutValue(std::string_view name, ConstBytes value) {
  return Commit(/*sync=*/true, [&](rocks::Database::Batch& batch) {
    batch.Put(rocks::Family::kDefault, std::string(kValuePrefix).append(name), AsText(value));
  });
}

Status RocksTier::ReleaseMemory() {
  Status status = db_.ReleaseMemory();
  malloc_trim(0);  // or the allocator keeps what RocksDB has freed
  return status;
}

Result<std::vector<std::byte>> RocksTier::GetValue(std::string_view name) {
  std::vector<std::byte> copy;
  Status got = db_.Get(rocks::Family::kDefault, std::string(kValuePrefix).append(name),
                       [&](std::string_view value) { copy = CopyOf(value); });
  if (!got.ok()) return std::unexpected(std::move(got));
  return copy;
}

Status RocksTier::Reclaim() {
  const std::scoped_lock one(reclaiming_);
  const LevelSet levels(levels_to_reclaim_.exchange(0));
  Status status;
  for (const LevelInfo& info : Levels()) {
    if (!levels.Has(info.level)) continue;
    const double garbage_max = crowded_.load() ? 0 : options_.garbage_share_max;
    if (status.ok()) status = db_.Reclaim(rocks::FamilyOf(info.level), garbage_max);
    if (!status.ok()) levels_to_reclaim_ |= LevelSet(info.level).bits();
  }
  if (status.code() == Code::kDataLoss && db_.EnsureWritable().ok() && db_.to_mend()) Mend();
  return status;
}

void RocksTier::ReclaimAtTimes() {
  std::unique_lock lock(closing_mutex_);
  while (!closed_.wait_for(lock, options_.reclaim_every, [this] { return closing_; })) {
    if (levels_to_reclaim_.load() == 0) continue;
    lock.unlock();
    // What fails now is tried again the next time.
    static_cast<void>(Reclaim());
    lock.lock();
  }
}

Status RocksTier::Close() {
  {
    const std::scoped_lock lock(closing_mutex_);
    closing_ = true;
  }
  closed_.notify_all();
  db_.CancelReclaim();
  if (reclaimer_.joinable()) reclaimer_.join();
  if (readers_ != nullptr) readers_->Stop();
  if (writers_ != nullptr) writers_->Stop();
  return db_.Close();
}

}  // namespace

Result<std::unique_ptr<DiskTier>> rocks::OpenRocksTierOn(const DiskOptions& options,
                                                         rocksdb::Env* env) {
  auto tier = std::make_unique<RocksTier>(options, env);
  if (Status status = tier->Open(); !status.ok()) return std::unexpected(std::move(status));
  return tier;
}

Result<std::unique_ptr<DiskTier>> OpenRocksTier(const DiskOptions& options) {
  return rocks::OpenRocksTierOn(options, rocksdb::Env::Default());
}

}  // namespace kdn::storage
