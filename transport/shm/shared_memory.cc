#include "transport/shm/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace kdn::transport::shm {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

std::string ErrnoText() {
  return std::strerror(errno);
}

// Address space for `size_bytes` from a huge page's boundary on, so that pages can be huge.
std::byte* ReserveAligned(std::size_t size_bytes) {
  const std::size_t room = size_bytes + kHugePageBytes;
  void* found = mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(found);
  const auto address = reinterpret_cast<std::uintptr_t>(found);
  const std::size_t skip = (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  if (skip > 0) munmap(begin, skip);
  munmap(begin + skip + size_bytes, room - skip - size_bytes);
  return begin + skip;
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

Result<Mapping> Mapping::Of(int fd, std::size_t size_bytes) {
  std::byte* at = ReserveAligned(size_bytes);
  if (at == nullptr) return Error(Code::kResourceExhausted, "no address space: " + ErrnoText());
  Mapping mapping({at, size_bytes});
  if (mmap(at, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    return Error(Code::kResourceExhausted, "cannot map shared memory: " + ErrnoText());
  }
  madvise(at, size_bytes, MADV_HUGEPAGE);  // it is as right, if slower, without
  return mapping;
}

SharedMemory::SharedMemory(Fd fd, Mapping mapping)
    : fd_(std::move(fd)), mapping_(std::move(mapping)) {}

Result<SharedMemory> SharedMemory::Make(std::size_t size_bytes) {
  size_bytes = (size_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (size_bytes == 0) return Error(Code::kInvalidArgument, "no bytes to share");
  Fd fd(memfd_create("kdn", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return Error(Code::kUnimplemented, "memfd_create: " + ErrnoText());
  if (ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Error(Code::kResourceExhausted, "cannot size shared memory: " + ErrnoText());
  }
  KDN_ASSIGN_OR_RETURN(Mapping mapping, Mapping::Of(fd.get(), size_bytes));
  return SharedMemory(std::move(fd), std::move(mapping));
}

MemoryRegion SharedMemory::region() const {
  return {bytes().data(), bytes().size(), MemoryKind::kHost, 0, fd()};
}

Status CheckShareable(int fd, std::size_t size_bytes) {
  struct statfs system{};
  if (fstatfs(fd, &system) != 0 || system.f_type != TMPFS_MAGIC) {
    // Of huge pages there may be none left when one is touched, and a file may lie anywhere.
    return Status(Code::kInvalidArgument, "the descriptor is not of shared memory");
  }
  struct stat file{};
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_size < 0 ||
      static_cast<std::uint64_t>(file.st_size) < size_bytes) {
    return Status(Code::kInvalidArgument, "the shared memory is smaller than it was said to be");
  }
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return Status(Code::kInvalidArgument, "the shared memory is not sealed against shrinking");
  }
  return Status();
}

MutableBytes PagesOf(MutableBytes bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::size_t before = address % kPageBytes;
  const std::size_t size = (before + bytes.size() + kPageBytes - 1) / kPageBytes * kPageBytes;
  return {bytes.data() - before, size};
}

void Populate(MutableBytes bytes) {
  const MutableBytes pages = PagesOf(bytes);
  madvise(pages.data(), pages.size(), MADV_POPULATE_WRITE);  // an old kernel waits for the touch
}

bool MakePagesPrivate(MutableBytes bytes) {
  const MutableBytes pages = PagesOf(bytes);
  void* copy =
      mmap(nullptr, pages.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return false;
  std::memcpy(copy, pages.data(), pages.size());
  if (mremap(copy, pages.size(), pages.size(), MREMAP_MAYMOVE | MREMAP_FIXED, pages.data()) !=
      MAP_FAILED) {
    return true;
  }
  munmap(copy, pages.size());
  return false;
}

}  // namespace kdn::transport::shm
