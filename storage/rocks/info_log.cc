#include "storage/rocks/info_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

namespace kdn::storage::rocks {
namespace {

constexpr std::size_t kLineBytesMax = 1000;

}  // namespace

InfoLog::InfoLog(std::string path, std::uint64_t bytes_max)
    : path_(std::move(path)), bytes_max_(bytes_max) {
  Open();
}

InfoLog::~InfoLog() {
  if (fd_ >= 0) ::close(fd_);
}

void InfoLog::Open() {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  struct stat file{};
  bytes_ = fd_ >= 0 && ::fstat(fd_, &file) == 0 ? static_cast<std::uint64_t>(file.st_size) : 0;
}

void InfoLog::Logv(const char* format, va_list arguments) {
  std::array<char, kLineBytesMax> line;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const int head =
      std::snprintf(line.data(), line.size(), "%lld.%03lld ", static_cast<long long>(ms / 1000),
                    static_cast<long long>(ms % 1000));
  const auto begun = static_cast<std::size_t>(std::max(head, 0));
  const int told = std::vsnprintf(line.data() + begun, line.size() - begun, format, arguments);
  const std::size_t wanted = begun + static_cast<std::size_t>(std::max(told, 0));
  std::size_t size = std::min(wanted, line.size() - 1);
  if (line[size - 1] != '\n') line[std::min(size++, line.size() - 1)] = '\n';
  const std::scoped_lock lock(mutex_);
  if (fd_ >= 0 && bytes_ >= bytes_max_) {
    ::close(fd_);
    static_cast<void>(std::rename(path_.c_str(), (path_ + ".old").c_str()));
    Open();
  }
  if (fd_ < 0) return;
  const ssize_t written = ::write(fd_, line.data(), std::min(size, line.size()));
  if (written > 0) bytes_ += static_cast<std::uint64_t>(written);
}

}  // namespace kdn::storage::rocks
