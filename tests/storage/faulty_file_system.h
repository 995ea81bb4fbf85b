// A file system on which writes fail while a test wants them to, as on a disk that is full or
// broken.
//
// Thread-safety: safe.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

namespace kdn::storage::test {

class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  FaultyFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "faulty"; }

  void Full(bool full) { fault_ = full ? Fault::kFull : Fault::kNone; }
  // RocksDB takes this for fatal: its instance writes no more, and has to be opened anew.
  void Broken(bool broken) { fault_ = broken ? Fault::kBroken : Fault::kNone; }

  // Only syncs fail: what was appended may or may not reach the disk.
  void FailSyncs(bool fail) { sync_fails_ = fail; }
  [[nodiscard]] int syncs() const { return syncs_.load(); }

  // What the file system says it has left.
  void Free(std::uint64_t bytes) { bytes_free_ = bytes; }

  rocksdb::IOStatus GetFreeSpace(const std::string& path, const rocksdb::IOOptions& options,
                                 std::uint64_t* bytes, rocksdb::IODebugContext* context) override {
    const rocksdb::IOStatus status = target()->GetFreeSpace(path, options, bytes, context);
    if (bytes_free_ != kReal) *bytes = bytes_free_;
    return status;
  }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* context) override {
    rocksdb::IOStatus status = Check(fault_);
    if (!status.ok()) return status;
    status = target()->NewWritableFile(name, options, result, context);
    if (status.ok()) *result = std::make_unique<File>(std::move(*result), *this);
    return status;
  }

 private:
  enum class Fault : std::uint8_t { kNone, kFull, kBroken };
  static rocksdb::IOStatus Check(Fault fault) {
    if (fault == Fault::kFull) return rocksdb::IOStatus::NoSpace("injected");
    if (fault == Fault::kBroken) return rocksdb::IOStatus::IOError("injected");
    return rocksdb::IOStatus::OK();
  }

  class File final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSWritableFile>&& file, FaultyFileSystem& files)
        : FSWritableFileOwnerWrapper(std::move(file)), files_(files) {}
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* context) override {
      const rocksdb::IOStatus status = Check(files_.fault_);
      if (!status.ok()) return status;
      return FSWritableFileOwnerWrapper::Append(data, options, context);
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo& info,
                             rocksdb::IODebugContext* context) override {
      const rocksdb::IOStatus status = Check(files_.fault_);
      if (!status.ok()) return status;
      return FSWritableFileOwnerWrapper::Append(data, options, info, context);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* context) override {
      if (files_.sync_fails_) return rocksdb::IOStatus::IOError("injected");
      ++files_.syncs_;
      return FSWritableFileOwnerWrapper::Sync(options, context);
    }

   private:
    FaultyFileSystem& files_;
  };

  static constexpr std::uint64_t kReal = ~std::uint64_t{0};
  std::atomic<std::uint64_t> bytes_free_ = kReal;
  std::atomic<Fault> fault_ = Fault::kNone;
  std::atomic<bool> sync_fails_ = false;
  std::atomic<int> syncs_ = 0;
};

}  // namespace kdn::storage::test
