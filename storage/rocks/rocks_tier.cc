// The disk tier over RocksDB with BlobDB. records.h says how objects lie in it.
//
// What keeps clear of RocksDB 7.8's known faults: no asynchronous I/O, no ingestion, no compressed
// WAL, at most two write buffers, no atomic flush. Its own checksums of blobs are not verified on
// reads: ours are, by the store and again by the client, eight times as fast.
#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include "proto/object/levels.h"
#include "storage/disk_tier.h"
#include "storage/rocks/records.h"
#include "storage/worker_pool.h"

namespace kdn::storage {
namespace {

constexpr std::uint64_t kBlobBytesMin = 4 * 1024;  // smaller values stay with their keys
constexpr std::uint64_t kBlobFileBytes = 64 * 1024 * 1024;
constexpr std::uint64_t kWriteBufferBytes = 32 * 1024 * 1024;
constexpr std::uint64_t kWriteBuffersBytesMax = 96 * 1024 * 1024;  // of all families
constexpr std::uint64_t kWalBytesMax = 256 * 1024 * 1024;
constexpr const char* kObjectsFamily = "objects";
constexpr const char* kFormatKey = "format";
constexpr const char* kValuePrefix = "value/";

rocksdb::Slice AsSlice(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status FromRocks(const rocksdb::Status& status) {
  if (status.ok()) return {};
  Code code = Code::kUnavailable;
  if (status.IsNotFound()) return Status(Code::kNotFound);
  if (status.IsCorruption()) code = Code::kDataLoss;
  if (status.IsNoSpace()) code = Code::kResourceExhausted;
  return Status(code, status.ToString());
}

// An exclusive lock on the folder, apart from RocksDB's, whose failure cannot be told from others.
class FolderLock {
 public:
  FolderLock() = default;
  ~FolderLock() { Release(); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  Status Take(const std::string& folder) {
    fd_ = ::open((folder + "/kdn.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) {
      return Status(Code::kFailedPrecondition,
                    "cannot write to " + folder + ": " + std::strerror(errno));
    }
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      return Status(Code::kFailedPrecondition, folder + " is in use by another process or store");
    }
    return {};
  }
  void Release() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

rocksdb::DBOptions DatabaseOptions() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  options.max_background_jobs = 2;
  options.max_total_wal_size = kWalBytesMax;
  options.db_write_buffer_size = kWriteBuffersBytesMax;
  options.keep_log_file_num = 3;
  options.max_log_file_size = 4 * 1024 * 1024;
  options.stats_dump_period_sec = 0;
  return options;
}

rocksdb::ColumnFamilyOptions FamilyOptions(bool blobs) {
  rocksdb::ColumnFamilyOptions options;
  options.max_write_buffer_number = 2;
  options.write_buffer_size = kWriteBufferBytes;
  options.compression = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (blobs) {
    options.enable_blob_files = true;
    options.min_blob_size = kBlobBytesMin;
    options.blob_file_size = kBlobFileBytes;
    // Space comes back as files of values that are all deleted go, and by rewriting the oldest.
    options.enable_blob_garbage_collection = true;
    options.blob_garbage_collection_age_cutoff = 0.5;
    options.blob_garbage_collection_force_threshold = 0.5;
  }
  return options;
}

std::uint64_t SegmentBytes(const ObjectHeader& header, LevelSet levels) {
  std::uint64_t bytes = 0;
  for (const LevelInfo& info : Levels()) {
    if (levels.Has(info.level)) bytes += header.level_bytes[static_cast<std::size_t>(info.level)];
  }
  return bytes;
}

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
  explicit RocksTier(const DiskOptions& options) : options_(options) {}
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
  std::uint64_t bytes_max() const override { return options_.bytes_max; }
  bool Post(std::function<void()> work) override { return pool_->Post(std::move(work)); }
  Status Close() override;

 private:
  rocksdb::ColumnFamilyHandle* Family(Level level) const {
    return families_[static_cast<std::size_t>(level)];
  }
  rocksdb::ColumnFamilyHandle* Objects() const { return families_[kLevelCount]; }
  Status CheckFormat();
  Result<rocks::DecodedRecord> GetRecord(const std::string& name) const;
  Status Commit(rocksdb::WriteBatch& batch, bool sync);

  const DiskOptions options_;
  FolderLock lock_;
  std::unique_ptr<rocksdb::DB> db_;
  // By level, then objects, then the default family.
  std::array<rocksdb::ColumnFamilyHandle*, kLevelCount + 2> families_{};
  std::unique_ptr<WorkerPool> pool_;
  std::atomic<std::uint64_t> bytes_used_{0};
  std::atomic<std::uint64_t> bytes_writing_{0};  // by writes under way
  std::atomic<bool> write_failed_{false};        // since the last write that succeeded
  std::mutex deleting_;  // of the levels in a record, one reads what another writes
};

Status RocksTier::Open() {
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error) {
    return Status(Code::kFailedPrecondition,
                  "cannot make " + options_.folder + ": " + error.message());
  }
  KDN_RETURN_IF_ERROR(lock_.Take(options_.folder));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const LevelInfo& info : Levels()) {
    families.emplace_back(std::string(info.name), FamilyOptions(/*blobs=*/true));
  }
  families.emplace_back(kObjectsFamily, FamilyOptions(/*blobs=*/false));
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, FamilyOptions(/*blobs=*/false));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(DatabaseOptions(), options_.folder + "/rocks", families, &handles, &db);
  if (!opened.ok()) return FromRocks(opened);
  db_.reset(db);
  std::copy(handles.begin(), handles.end(), families_.begin());
  KDN_RETURN_IF_ERROR(CheckFormat());
  std::uint64_t bytes = 0;
  const Status scanned = Scan([&](const ObjectId&, const ObjectHeader& header, LevelSet levels) {
    bytes += kObjectHeaderBytes + SegmentBytes(header, levels);
  });
  // What is damaged is left out, as in every later Scan().
  if (!scanned.ok() && scanned.code() != Code::kDataLoss) return scanned;
  bytes_used_ = bytes;
  pool_ = std::make_unique<WorkerPool>(std::max(options_.threads, 1U),
                                       std::max(options_.queue_depth, 1U));
  return {};
}

Status RocksTier::CheckFormat() {
  std::string stored;
  const rocksdb::Status got = db_->Get({}, kFormatKey, &stored);
  if (got.IsNotFound()) {
    std::vector<std::byte> version;
    ByteWriter(version).Integer(rocks::kFormatVersion);
    rocksdb::WriteOptions durable;
    durable.sync = true;
    return FromRocks(db_->Put(durable, kFormatKey, AsSlice(version)));
  }
  if (!got.ok()) return FromRocks(got);
  ByteReader in(AsBytes(stored));
  const auto version = in.Integer<std::uint32_t>();
  if (!in.AtEnd()) return Status(Code::kDataLoss, "format version of " + options_.folder);
  if (version > rocks::kFormatVersion) {
    return Status(Code::kFailedPrecondition,
                  options_.folder + " was written in format " + std::to_string(version) +
                      "; this version reads up to " + std::to_string(rocks::kFormatVersion));
  }
  return {};
}

Result<rocks::DecodedRecord> RocksTier::GetRecord(const std::string& name) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status got = db_->Get({}, Objects(), name, &value);
  if (!got.ok()) return std::unexpected(FromRocks(got));
  return rocks::DecodeRecord(name, value.ToStringView());
}

Status RocksTier::Commit(rocksdb::WriteBatch& batch, bool sync) {
  // After an error RocksDB refuses writes until it is told to go on.
  if (write_failed_.load()) {
    const rocksdb::Status resumed = db_->Resume();
    if (!resumed.ok()) return FromRocks(resumed);
    write_failed_ = false;
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  const rocksdb::Status written = db_->Write(options, &batch);
  if (!written.ok()) write_failed_ = true;
  return FromRocks(written);
}

Status RocksTier::Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) {
  std::string key = rocks::NameKey(id);
  const std::string name = key;
  if (GetRecord(name)) return {};  // put ids are never used for two encodings
  rocksdb::WriteBatch batch;
  rocks::ObjectRecord record{.levels = {}, .header = header};
  std::uint64_t bytes = header.size();
  for (const LevelInfo& info : Levels()) {
    Slicer slicer(segments[static_cast<std::size_t>(info.level)]);
    for (std::uint32_t slice = 0; !slicer.AtEnd(); ++slice) {
      rocks::SetSlice(key, slice);
      const rocksdb::Slice key_slice(key);
      const std::span<const rocksdb::Slice> value = slicer.Next();
      const auto put = batch.Put(Family(info.level), rocksdb::SliceParts(&key_slice, 1),
                                 {value.data(), static_cast<int>(value.size())});
      if (!put.ok()) return FromRocks(put);
      record.levels.Add(info.level);
    }
    bytes += slicer.bytes();
  }
  if (record.levels.empty()) return Status(Code::kInvalidArgument, "an object without segments");
  const auto put = batch.Put(Objects(), name, rocks::EncodeRecord(name, record));
  if (!put.ok()) return FromRocks(put);

  const std::uint64_t writing = bytes_writing_.fetch_add(bytes) + bytes;
  Status status(Code::kResourceExhausted, "the disk tier is full");
  if (options_.bytes_max == 0 || bytes_used_.load() + writing <= options_.bytes_max) {
    status = Commit(batch, options_.sync);
  }
  if (status.ok()) bytes_used_ += bytes;
  bytes_writing_ -= bytes;
  return status;
}

Status RocksTier::Read(const ObjectId& id, Level level, std::uint64_t offset,
                       std::span<const MutableBytes> out) {
  std::string key = rocks::NameKey(id);
  rocksdb::ReadOptions options;
  options.verify_checksums = false;
  rocksdb::PinnableSlice value;
  ConstBytes left;  // of the slice at hand
  auto slice = static_cast<std::uint32_t>(offset / rocks::kSliceBytes);
  std::size_t skipped = offset % rocks::kSliceBytes;
  bool found = false;
  for (MutableBytes run : out) {
    while (!run.empty()) {
      if (left.empty()) {
        rocks::SetSlice(key, slice++);
        value.Reset();
        const rocksdb::Status got = db_->Get(options, Family(level), key, &value);
        if (got.IsNotFound() && found) return Status(Code::kDataLoss, "segment is cut");
        if (!got.ok()) return FromRocks(got);
        found = true;
        if (value.size() <= skipped) return Status(Code::kDataLoss, "segment is cut");
        left = AsBytes(value.ToStringView()).subspan(skipped);
        skipped = 0;
      }
      const std::size_t taken = std::min(run.size(), left.size());
      std::memcpy(run.data(), left.data(), taken);
      run = run.subspan(taken);
      left = left.subspan(taken);
    }
  }
  return {};
}

Status RocksTier::Delete(const ObjectId& id, LevelSet levels) {
  const std::scoped_lock lock(deleting_);
  std::string key = rocks::NameKey(id);
  const std::string name = key;
  const auto record = GetRecord(name);
  if (!record) return record.error().code() == Code::kNotFound ? Status() : record.error();
  rocksdb::WriteBatch batch;
  LevelSet left = record->levels;
  LevelSet deleted;
  for (const LevelInfo& info : Levels()) {
    if (!(left & levels).Has(info.level)) continue;
    left.Remove(info.level);
    deleted.Add(info.level);
    const std::uint32_t count = rocks::SliceCount(SegmentBytes(record->header, info.level));
    for (std::uint32_t slice = 0; slice < count; ++slice) {
      rocks::SetSlice(key, slice);
      const auto removed = batch.Delete(Family(info.level), key);
      if (!removed.ok()) return FromRocks(removed);
    }
  }
  const auto marked =
      left.empty() ? batch.Delete(Objects(), name)
                   : batch.Put(Objects(), name,
                               rocks::EncodeRecord(name, {left, EncodeHeader(record->header)}));
  if (!marked.ok()) return FromRocks(marked);
  // Not synced: should a delete get lost in a crash of the machine, what comes back is intact.
  KDN_RETURN_IF_ERROR(Commit(batch, /*sync=*/false));
  bytes_used_ -= SegmentBytes(record->header, deleted) + (left.empty() ? kObjectHeaderBytes : 0);
  return {};
}

Status RocksTier::Scan(const Visitor& visit) {
  std::uint64_t damaged = 0;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, Objects()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const std::string_view name = it->key().ToStringView();
    const auto record = rocks::DecodeRecord(name, it->value().ToStringView());
    if (!record) {
      ++damaged;
      continue;
    }
    visit(*rocks::ParseNameKey(name), record->header, record->levels);
  }
  if (!it->status().ok()) return FromRocks(it->status());
  if (damaged > 0) {
    return Status(Code::kDataLoss, std::to_string(damaged) + " damaged records left out");
  }
  return {};
}

Status RocksTier::PutValue(std::string_view name, ConstBytes value) {
  rocksdb::WriteBatch batch;
  const auto put = batch.Put(kValuePrefix + std::string(name), AsSlice(value));
  if (!put.ok()) return FromRocks(put);
  return Commit(batch, /*sync=*/true);
}

Result<std::vector<std::byte>> RocksTier::GetValue(std::string_view name) {
  std::string value;
  const rocksdb::Status got = db_->Get({}, kValuePrefix + std::string(name), &value);
  if (!got.ok()) return std::unexpected(FromRocks(got));
  const ConstBytes bytes = AsBytes(value);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

Status RocksTier::Close() {
  if (pool_ != nullptr) pool_->Stop();
  if (db_ == nullptr) return {};
  Status status = FromRocks(db_->FlushWAL(/*sync=*/true));
  for (rocksdb::ColumnFamilyHandle* family : families_) {
    if (family != nullptr) db_->DestroyColumnFamilyHandle(family);
  }
  if (const Status closed = FromRocks(db_->Close()); status.ok()) status = closed;
  db_.reset();
  lock_.Release();
  return status;
}

}  // namespace

Result<std::unique_ptr<DiskTier>> OpenRocksTier(const DiskOptions& options) {
  auto tier = std::make_unique<RocksTier>(options);
  if (Status status = tier->Open(); !status.ok()) return std::unexpected(std::move(status));
  return tier;
}

}  // namespace kdn::storage
