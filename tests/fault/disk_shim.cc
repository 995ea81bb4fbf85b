// A library that is preloaded into nodes: what their writes meet on a bad disk. Which fault there
// is says the first byte of the file that $KDN_DISK_FAULT names, as in disk_lab.h; it concerns
// files below $KDN_DISK_FAULT_FOLDER. Nothing of it is in the product.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/fault/disk_fault.h"

namespace {

using kdn::fault::DiskFault;

// A preloaded library has no main() that could read it.
const char* Variable(const char* name) {
  const std::size_t size = std::strlen(name);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, name, size) == 0 && (*entry)[size] == '=') return *entry + size + 1;
  }
  return nullptr;
}

const volatile char* FaultByte() {
  static const volatile char* const byte = [] {
    const char* const path = Variable("KDN_DISK_FAULT");
    const int fd = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return static_cast<const char*>(nullptr);
    void* const page = ::mmap(nullptr, 1, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    return page == MAP_FAILED ? nullptr : static_cast<const char*>(page);
  }();
  return byte;
}

bool IsOnDisk(int fd) {
  static const char* const folder = Variable("KDN_DISK_FAULT_FOLDER");
  char link[64];
  char path[4096];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(link, path, sizeof(path));
  const std::size_t wanted = folder == nullptr ? 0 : std::strlen(folder);
  return wanted > 0 && size > static_cast<ssize_t>(wanted) &&
         std::strncmp(path, folder, wanted) == 0;
}

DiskFault FaultOf(int fd) {
  const volatile char* const byte = FaultByte();
  const DiskFault fault = byte == nullptr ? DiskFault::kNone : static_cast<DiskFault>(*byte);
  return fault == DiskFault::kNone || !IsOnDisk(fd) ? DiskFault::kNone : fault;
}

// False, with errno: the call is to fail.
bool MayWrite(int fd) {
  switch (FaultOf(fd)) {
    case DiskFault::kFull:
      errno = ENOSPC;
      return false;
    case DiskFault::kBroken:
      errno = EIO;
      return false;
    case DiskFault::kSlow: {
      ::poll(nullptr, 0, 1000);
      return true;
    }
    case DiskFault::kNone:
    case DiskFault::kSyncFails:
      return true;
  }
  return true;
}

bool MaySync(int fd) {
  const DiskFault fault = FaultOf(fd);
  if (fault != DiskFault::kSyncFails && fault != DiskFault::kBroken) return true;
  errno = EIO;
  return false;
}

template <class Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) ssize_t write(int fd, const void* bytes, size_t count) {
  static const auto real = Real<ssize_t(int, const void*, size_t)>("write");
  return MayWrite(fd) ? real(fd, bytes, count) : -1;
}

__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* bytes, size_t count,
                                                      off_t offset) {
  static const auto real = Real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return MayWrite(fd) ? real(fd, bytes, count, offset) : -1;
}

__attribute__((visibility("default"))) ssize_t pwrite64(int fd, const void* bytes, size_t count,
                                                        off64_t offset) {
  static const auto real = Real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return MayWrite(fd) ? real(fd, bytes, count, offset) : -1;
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  static const auto real = Real<int(int)>("fdatasync");
  return MaySync(fd) ? real(fd) : -1;
}

__attribute__((visibility("default"))) int fsync(int fd) {
  static const auto real = Real<int(int)>("fsync");
  return MaySync(fd) ? real(fd) : -1;
}

}  // extern "C"
