// What RocksDB says of its own doings, in a file beside its data. RocksDB's own writer of that file
// ends the process with the second line after one that the disk did not take (Debian's is built
// with assertions); here such lines are lost and nothing else is.
//
// Thread-safety: safe.
#pragma once

#include <rocksdb/env.h>

#include <cstdarg>
#include <cstdint>
#include <mutex>
#include <string>

namespace kdn::storage::rocks {

class InfoLog final : public rocksdb::Logger {
 public:
  // Appends to the file. One that has `bytes_max` becomes `path`.old, in the place of the last.
  InfoLog(std::string path, std::uint64_t bytes_max);
  ~InfoLog() override;
  InfoLog(const InfoLog&) = delete;
  InfoLog& operator=(const InfoLog&) = delete;

  using rocksdb::Logger::Logv;
  // One line, cut at 1,000 bytes.
  void Logv(const char* format, va_list arguments) override;

 private:
  void Open();

  const std::string path_;
  const std::uint64_t bytes_max_;
  std::mutex mutex_;
  int fd_ = -1;              // guarded by mutex_; -1: it cannot be opened
  std::uint64_t bytes_ = 0;  // guarded by mutex_
};

}  // namespace kdn::storage::rocks
