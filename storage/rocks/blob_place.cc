#include "storage/rocks/blob_place.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace kdn::storage::rocks {
namespace {

constexpr std::string_view kBlobSuffix = ".blob";

// The locator of the get that runs on this thread. RocksDB's interfaces hand nothing through from a
// get to the file system below it, but both run on one thread.
thread_local BlobLocator* locator = nullptr;

Status ReadError(ssize_t got) {
  if (got == 0) return Status(Code::kDataLoss, "a blob file is cut");
  return Status(Code::kUnavailable, "reading a blob: " + std::generic_category().message(errno));
}

// What is still to be read, and where to.
struct Rest {
  std::uint64_t offset;
  std::vector<iovec> runs;
  std::size_t first = 0;  // of runs

  Rest(std::uint64_t at, std::span<const MutableBytes> out) : offset(at) {
    runs.reserve(out.size());
    for (const MutableBytes run : out) {
      if (!run.empty()) runs.push_back({run.data(), run.size()});
    }
  }
  [[nodiscard]] bool Done() const { return first == runs.size(); }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t bytes = 0;
    for (std::size_t i = first; i < runs.size(); ++i) bytes += runs[i].iov_len;
    return bytes;
  }
  void Took(std::size_t bytes) {
    offset += bytes;
    while (bytes > 0) {
      iovec& run = runs[first];
      const std::size_t taken = std::min(bytes, run.iov_len);
      run.iov_base = static_cast<std::byte*>(run.iov_base) + taken;
      run.iov_len -= taken;
      bytes -= taken;
      if (run.iov_len == 0) ++first;
    }
  }
  void Copy(ConstBytes bytes) {
    while (!bytes.empty() && !Done()) {
      const std::size_t taken = std::min(bytes.size(), runs[first].iov_len);
      std::memcpy(runs[first].iov_base, bytes.data(), taken);
      Took(taken);
      bytes = bytes.subspan(taken);
    }
  }
};

ssize_t ReadRuns(int fd, const Rest& rest, int flags) {
  const auto count =
      static_cast<int>(std::min<std::size_t>(rest.runs.size() - rest.first, IOV_MAX));
  ssize_t got = 0;
  do {
    got =
        ::preadv2(fd, rest.runs.data() + rest.first, count, static_cast<off_t>(rest.offset), flags);
  } while (got < 0 && errno == EINTR);
  return got;
}

// Whether the page cache has at least the beginning. Asking for more at once would make the kernel
// read ahead by as much.
bool BeginsCached(int fd, std::uint64_t offset) {
  std::byte probe{};
  const iovec run{&probe, 1};
  return ::preadv2(fd, &run, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

void ReadCached(int fd, Rest& rest) {
  while (!rest.Done() && BeginsCached(fd, rest.offset)) {
    const ssize_t got = ReadRuns(fd, rest, RWF_NOWAIT);
    if (got <= 0) return;
    rest.Took(static_cast<std::size_t>(got));
  }
}

// False, and some of `rest` may be left, where the file cannot be read so.
bool ReadPastCache(int fd, Rest& rest, DirectReader& direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return false;
  const bool read =
      direct.Read(fd, rest.offset, rest.bytes(), [&rest](ConstBytes bytes) { rest.Copy(bytes); });
  static_cast<void>(::fcntl(fd, F_SETFL, flags));
  return read;
}

}  // namespace

BlobPlace::BlobPlace(const std::string& path, std::uint64_t offset, std::uint64_t size_bytes)
    : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), offset_(offset), size_bytes_(size_bytes) {}

BlobPlace::~BlobPlace() {
  if (fd_ >= 0) ::close(fd_);
}

Status BlobPlace::Read(std::uint64_t skipped, std::span<const MutableBytes> out,
                       DirectReader& direct) const {
  if (fd_ < 0) return Status(Code::kUnavailable, "a blob file cannot be opened");
  Rest rest(offset_ + skipped, out);
  ReadCached(fd_, rest);
  if (rest.Done() || ReadPastCache(fd_, rest, direct)) return {};
  // A file system that reads one way only, or an error, which then comes again.
  while (!rest.Done()) {
    const ssize_t got = ReadRuns(fd_, rest, 0);
    if (got <= 0) return ReadError(got);
    rest.Took(static_cast<std::size_t>(got));
  }
  return {};
}

BlobLocator::BlobLocator() {
  locator = this;
}

BlobLocator::~BlobLocator() {
  locator = nullptr;
}

class LocatedFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  LocatedFile(std::unique_ptr<rocksdb::FSRandomAccessFile>&& file, std::string path)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), path_(std::move(path)) {}

  rocksdb::IOStatus Read(std::uint64_t offset, std::size_t size_bytes,
                         const rocksdb::IOOptions& options, rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* context) const override {
    // A file's header and footer are read for itself, and are shorter.
    if (locator == nullptr || size_bytes < kBlobBytesMin) {
      return FSRandomAccessFileOwnerWrapper::Read(offset, size_bytes, options, result, scratch,
                                                  context);
    }
    // RocksDB does not delete the file under a get, so it is opened now.
    locator->place_.emplace(path_, offset, size_bytes);
    return rocksdb::IOStatus::Aborted("located");
  }

 private:
  const std::string path_;
};

namespace {

class LocatingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "kdn.LocatingFileSystem"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* context) override {
    rocksdb::IOStatus status = target()->NewRandomAccessFile(path, options, result, context);
    if (status.ok() && path.ends_with(kBlobSuffix)) {
      *result = std::make_unique<LocatedFile>(std::move(*result), path);
    }
    return status;
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> LocateBlobs(std::shared_ptr<rocksdb::FileSystem> base) {
  return std::make_shared<LocatingFileSystem>(std::move(base));
}

}  // namespace kdn::storage::rocks
