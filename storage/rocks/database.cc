// What keeps clear of RocksDB 7.8's known faults: no asynchronous I/O, no ingestion, no compressed
// WAL, at most two write buffers, no atomic flush.
#include "storage/rocks/database.h"

#include <fcntl.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "storage/rocks/info_log.h"
#include "storage/rocks/past_damage.h"
#include "storage/rocks/records.h"

namespace kdn::storage::rocks {
namespace {

// A family with more of them is given up: looking behind each takes some hundred seeks.
constexpr int kDamagedStretchesMax = 1000;
constexpr std::size_t kProbeBytes = 1024 * 1024;
constexpr std::uint64_t kBlobFileBytes = 64 * 1024 * 1024;
constexpr std::uint64_t kWriteBufferBytes = 32 * 1024 * 1024;
constexpr std::uint64_t kWriteBuffersBytesMax = 96 * 1024 * 1024;  // of all families
constexpr std::uint64_t kWalBytesMax = 256 * 1024 * 1024;
constexpr std::uint64_t kInfoLogBytesMax = 4 * 1024 * 1024;
constexpr std::uint64_t kGroupBytesMax = 16 * 1024 * 1024;  // of writes that share one sync

// RocksDB would look every few seconds whether space has come back. The next write is the better
// moment: it resumes, and knows at once.
class ResumeOnWrite final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

// In memory alone, for a database that is only read: nothing in its folder changes.
class NoInfoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::DBOptions DatabaseOptions(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.env = env;
  options.listeners.push_back(std::make_shared<ResumeOnWrite>());
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  options.max_background_jobs = 2;
  options.max_total_wal_size = kWalBytesMax;
  options.max_write_batch_group_size_bytes = kGroupBytesMax;
  options.db_write_buffer_size = kWriteBuffersBytesMax;
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
    options.enable_blob_garbage_collection = false;
    options.blob_garbage_collection_age_cutoff = 0.5;
    options.blob_garbage_collection_force_threshold = 0.5;
  }
  return options;
}

}  // namespace

Status FromRocks(const rocksdb::Status& status) {
  if (status.ok()) return {};
  if (status.IsNotFound()) return Status(Code::kNotFound);
  Code code = Code::kUnavailable;
  if (status.IsCorruption()) code = Code::kDataLoss;
  if (status.IsNoSpace()) code = Code::kResourceExhausted;
  return Status(code, status.ToString());
}

void Database::Batch::Keep(const rocksdb::Status& status) {
  if (status_.ok()) status_ = status;
}

void Database::Batch::Put(Family family, std::string_view key, std::string_view value) {
  Keep(batch_.Put(families_[static_cast<std::size_t>(family)], key, value));
}

void Database::Batch::Put(Family family, std::string_view key,
                          std::span<const rocksdb::Slice> value) {
  const rocksdb::Slice key_slice(key);
  Keep(batch_.Put(families_[static_cast<std::size_t>(family)], rocksdb::SliceParts(&key_slice, 1),
                  rocksdb::SliceParts(value.data(), static_cast<int>(value.size()))));
}

void Database::Batch::Delete(Family family, std::string_view key) {
  Keep(batch_.Delete(families_[static_cast<std::size_t>(family)], key));
}

Database::Database(std::string folder, rocksdb::Env* env)
    : folder_(std::move(folder)),
      env_(rocksdb::NewCompositeEnv(LocateBlobs(env->GetFileSystem()))) {}

Status Database::LockFolder(int flags) {
  // Apart from RocksDB's own lock, whose failure cannot be told from others.
  lock_fd_ = ::open((folder_ + "/kdn.lock").c_str(), flags | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) {
    return Status(Code::kFailedPrecondition,
                  "cannot open " + folder_ + ": " + std::strerror(errno));
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return Status(Code::kFailedPrecondition, folder_ + " is in use by another process or store");
  }
  return {};
}

Status Database::Open() {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) {
    return Status(Code::kFailedPrecondition, "cannot make " + folder_ + ": " + error.message());
  }
  KDN_RETURN_IF_ERROR(LockFolder(O_RDWR | O_CREAT));
  Status opened = OpenDatabase(/*compactions=*/true);
  if (opened.code() != Code::kResourceExhausted || !OpenReader().ok()) return opened;
  write_failed_ = true;
  return {};
}

Status Database::OpenToRead() {
  KDN_RETURN_IF_ERROR(LockFolder(O_RDONLY));
  write_failed_ = true;  // nothing is flushed or synced when it is closed
  return OpenReader();
}

Status Database::OpenBy(const Opener& opener, bool reads_only, bool compactions) {
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const LevelInfo& info : Levels()) {
    families.emplace_back(std::string(info.name), FamilyOptions(/*blobs=*/true));
  }
  families.emplace_back("objects", FamilyOptions(/*blobs=*/false));
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, FamilyOptions(/*blobs=*/false));
  for (auto& family : families) family.options.disable_auto_compactions = !compactions;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions options = DatabaseOptions(env_.get());
  if (reads_only) {
    options.info_log = std::make_shared<NoInfoLog>();
  } else {
    std::error_code error;  // told by what is opened next
    std::filesystem::create_directory(folder_ + "/rocks", error);
    options.info_log = std::make_shared<InfoLog>(folder_ + "/rocks/LOG", kInfoLogBytesMax);
  }
  const rocksdb::Status opened = opener(options, folder_ + "/rocks", families, &handles, &db);
  if (!opened.ok()) return FromRocks(opened);
  db_.reset(db);
  std::copy(handles.begin(), handles.end(), families_.begin());
  return {};
}

Status Database::OpenDatabase(bool compactions) {
  Status opened =
      OpenBy([](const auto& options, const auto& folder, const auto& families, auto* handles,
                auto* db) { return rocksdb::DB::Open(options, folder, families, handles, db); },
             /*reads_only=*/false, compactions);
  if (opened.ok()) reads_only_ = false;
  return opened;
}

Status Database::OpenReader() {
  Status opened = OpenBy(
      [](const auto& options, const auto& folder, const auto& families, auto* handles, auto* db) {
        return rocksdb::DB::OpenForReadOnly(options, folder, families, handles, db);
      },
      /*reads_only=*/true, /*compactions=*/false);
  if (opened.ok()) reads_only_ = true;
  return opened;
}

// What lies only in the log is lost from the first damaged record on; in tables damage costs one
// value. So a clean stop leaves nothing in the log.
Status Database::FlushTables() {
  if (db_ == nullptr || write_failed_.load()) return {};
  return FromRocks(db_->Flush(rocksdb::FlushOptions(), {families_.begin(), families_.end()}));
}

Status Database::ReleaseMemory() {
  const std::shared_lock lock(open_);
  return FlushTables();
}

Status Database::CloseDatabase() {
  if (db_ == nullptr) return {};
  // After an error the log must not be touched: Debian's RocksDB is built with assertions.
  Status status;
  if (!write_failed_.load()) status = FromRocks(db_->FlushWAL(/*sync=*/true));
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  if (Status closed = FromRocks(db_->Close()); status.ok()) status = std::move(closed);
  db_.reset();
  return status;
}

Status Database::Close() {
  CancelReclaim();
  const std::unique_lock lock(open_);
  Status status = FlushTables();
  if (Status closed = CloseDatabase(); status.ok()) status = std::move(closed);
  if (lock_fd_ >= 0) ::close(std::exchange(lock_fd_, -1));
  return status;
}

Status Database::Get(Family family, std::string_view key, const Use& use, bool verify) {
  const std::shared_lock lock(open_);
  if (db_ == nullptr) return Status(Code::kUnavailable, "the disk tier is closed");
  rocksdb::ReadOptions options;
  options.verify_checksums = verify;
  rocksdb::PinnableSlice value;
  Status status = FromRocks(db_->Get(options, Handle(family), key, &value));
  if (status.ok()) use(value.ToStringView());
  return status;
}

Status Database::Locate(Family family, std::string_view key, const Use& use, std::string& copy,
                        std::optional<BlobPlace>& place) {
  const std::shared_lock lock(open_);
  if (db_ == nullptr) return Status(Code::kUnavailable, "the disk tier is closed");
  rocksdb::ReadOptions options;
  options.verify_checksums = false;
  rocksdb::PinnableSlice value(&copy);
  BlobLocator locator;
  const rocksdb::Status got = db_->Get(options, Handle(family), key, &value);
  place = locator.Take();
  if (place) return {};
  if (got.ok()) use(value.ToStringView());
  return FromRocks(got);
}

Status Database::ForEach(Family family, const Visitor& visit, bool verify) {
  const std::shared_lock lock(open_);
  if (db_ == nullptr) return Status(Code::kUnavailable, "the disk tier is closed");
  rocksdb::ReadOptions options;
  options.verify_checksums = verify;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, Handle(family)));
  rocksdb::Status damage;
  std::string last;
  it->SeekToFirst();
  for (int stretches = 0; stretches < kDamagedStretchesMax; ++stretches) {
    for (; it->Valid(); it->Next()) {
      last = it->key().ToStringView();
      visit(last, it->value().ToStringView());
    }
    if (it->status().ok()) break;
    if (damage.ok()) damage = it->status();
    if (!damage.IsCorruption()) break;
    last = SeekPastDamage(*it, last, kNameBytes);
  }
  return FromRocks(damage);
}

Status GroupSync::Sync(const std::function<Status()>& sync) {
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Round> round = next_;
  ended_.wait(lock, [&] { return round->ended || (!running_ && !round->begun); });
  if (round->ended) return round->status;
  round->begun = true;
  running_ = true;
  next_ = std::make_shared<Round>();
  lock.unlock();
  Status status = sync();
  lock.lock();
  running_ = false;
  round->ended = true;
  round->status = status;
  ended_.notify_all();
  return status;
}

Status Database::EnsureWritable() {
  return write_failed_.load() ? Recover() : Status();
}

Status Database::Write(bool sync, const std::function<void(Batch&)>& fill) {
  Status status;
  // Damage that was met in the background, and an error there that is over, say nothing about this
  // write: it is tried again.
  for (int attempt = 0; attempt < 2; ++attempt) {
    KDN_RETURN_IF_ERROR(EnsureWritable());
    status = WriteOnce(sync, fill);
    if (status.ok() || !write_failed_.load()) break;
  }
  return status;
}

// Not synced by the write itself: RocksDB would hold the next one up until the disk has this one.
Status Database::WriteOnce(bool sync, const std::function<void(Batch&)>& fill) {
  const std::shared_lock lock(open_);
  if (db_ == nullptr) return Status(Code::kUnavailable, "the disk tier is closed");
  rocksdb::WriteBatch writes;
  Batch batch(writes, families_);
  fill(batch);
  if (!batch.status().ok()) return FromRocks(batch.status());
  const rocksdb::Status written = db_->Write(rocksdb::WriteOptions(), &writes);
  if (!written.ok()) {
    damaged_ = written.IsCorruption();
    write_failed_ = true;
    return FromRocks(written);
  }
  if (!sync) return {};
  Status synced = log_sync_.Sync([this] { return FromRocks(db_->SyncWAL()); });
  if (!synced.ok()) write_failed_ = true;
  return synced;
}

Database::Space Database::FileSystemSpace() const {
  std::error_code error;
  const std::filesystem::space_info whole = std::filesystem::space(folder_, error);
  Space space;
  std::uint64_t bytes_free = 0;
  if (error || !env_->GetFreeSpace(folder_, &bytes_free).ok()) return space;
  space.bytes = whole.capacity;
  space.bytes_free = bytes_free;
  return space;
}

bool Database::TakeMending() {
  return to_mend_.exchange(false);
}

void Database::MendDone() {
  const std::shared_lock lock(open_);
  if (db_ == nullptr) return;
  static_cast<void>(db_->EnableAutoCompaction({families_.begin(), families_.end()}));
}

// Whether the disk takes bytes again. Asked of the disk and not of RocksDB, which treats a resume
// that fails as the end.
Status Database::Probe() {
  const std::string name = folder_ + "/kdn.probe";
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env_->NewWritableFile(name, &file, rocksdb::EnvOptions());
  if (!status.ok()) return FromRocks(status);
  status = file->Append(std::string(kProbeBytes, 'x'));
  if (status.ok()) status = file->Sync();
  static_cast<void>(file->Close());
  static_cast<void>(env_->DeleteFile(name));
  return FromRocks(status);
}

Status Database::Recover() {
  const std::scoped_lock one(recovering_);
  if (!write_failed_.load()) return {};
  KDN_RETURN_IF_ERROR(Probe());
  {
    const std::shared_lock lock(open_);
    if (db_ != nullptr && !reads_only_ && db_->Resume().ok()) {
      write_failed_ = false;
      return {};
    }
  }
  // Fatal to this instance, but not to what is on disk: reads wait while it is opened anew.
  const std::unique_lock lock(open_);
  static_cast<void>(CloseDatabase());
  const bool damaged = damaged_.exchange(false);
  if (Status opened = OpenDatabase(/*compactions=*/!damaged); !opened.ok()) {
    damaged_ = damaged;
    static_cast<void>(OpenReader());
    return opened;
  }
  if (damaged) to_mend_ = true;
  write_failed_ = false;
  return {};
}

}  // namespace kdn::storage::rocks
