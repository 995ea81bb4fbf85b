#include "coordinator/metastore/rocks_metastore.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <utility>

namespace kdn::coordinator {
namespace {

rocksdb::Slice SliceOf(std::string_view text) {
  return {text.data(), text.size()};
}

Status FromRocks(const rocksdb::Status& status) {
  if (status.ok()) return Status();
  if (status.IsNotFound()) return Status(Code::kNotFound);
  if (status.IsNoSpace())
    return Status(Code::kResourceExhausted, "metastore: " + status.ToString());
  if (status.IsCorruption()) return Status(Code::kDataLoss, "metastore: " + status.ToString());
  return Status(Code::kUnavailable, "metastore: " + status.ToString());
}

Status ScanFrom(rocksdb::DB& db, const rocksdb::Snapshot* snapshot, std::string_view prefix,
                const Metastore::Visitor& visit) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  const std::unique_ptr<rocksdb::Iterator> at(db.NewIterator(options));
  for (at->Seek(SliceOf(prefix)); at->Valid(); at->Next()) {
    const std::string_view key = at->key().ToStringView();
    if (!key.starts_with(prefix)) break;
    KDN_RETURN_IF_ERROR(visit(key, at->value().ToStringView()));
  }
  return FromRocks(at->status());
}

class RocksSnapshot final : public MetaSnapshot {
 public:
  explicit RocksSnapshot(rocksdb::DB& db) : db_(db), snapshot_(db.GetSnapshot()) {}
  ~RocksSnapshot() override { db_.ReleaseSnapshot(snapshot_); }
  RocksSnapshot(const RocksSnapshot&) = delete;
  RocksSnapshot& operator=(const RocksSnapshot&) = delete;

  Status Scan(std::string_view prefix, const Visitor& visit) override {
    return ScanFrom(db_, snapshot_, prefix, visit);
  }

 private:
  rocksdb::DB& db_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksMetastore final : public Metastore {
 public:
  explicit RocksMetastore(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}

  Status Write(const MetaBatch& batch) override {
    rocksdb::WriteBatch writes;
    for (const MetaBatch::Operation& operation : batch.operations) {
      const rocksdb::Status added = operation.value ? writes.Put(operation.key, *operation.value)
                                                    : writes.Delete(operation.key);
      if (!added.ok()) return FromRocks(added);
    }
    rocksdb::WriteOptions options;
    options.sync = true;  // An answer that follows must survive a power cut.
    const rocksdb::Status written = db_->Write(options, &writes);
    // After a failed write the log may be torn where it failed; RocksDB then refuses all writes
    // until told to go on, which it does only if what was acknowledged is whole.
    if (!written.ok()) (void)db_->Resume();
    return FromRocks(written);
  }

  Result<std::string> Get(std::string_view key) override {
    std::string value;
    const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), SliceOf(key), &value);
    if (!status.ok()) return std::unexpected(FromRocks(status));
    return value;
  }

  Status Scan(std::string_view prefix, const Visitor& visit) override {
    return ScanFrom(*db_, nullptr, prefix, visit);
  }

  std::unique_ptr<MetaSnapshot> TakeSnapshot() override {
    return std::make_unique<RocksSnapshot>(*db_);
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

Result<std::unique_ptr<Metastore>> OpenRocksMetastore(const std::string& folder) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.max_open_files = 64;
  options.write_buffer_size = 8U << 20;
  options.max_write_buffer_number = 2;
  options.keep_log_file_num = 4;
  // A log that ends in a torn record is what a crash leaves; a hole before its end is damage, and
  // starting over it would silently lose acknowledged writes.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, folder, &opened);
  if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
    return Error(Code::kFailedPrecondition,
                 "metastore: " + folder + " is in use by another process: " + status.ToString());
  }
  if (!status.ok()) return std::unexpected(FromRocks(status));
  return std::make_unique<RocksMetastore>(std::unique_ptr<rocksdb::DB>(opened));
}

}  // namespace kdn::coordinator
