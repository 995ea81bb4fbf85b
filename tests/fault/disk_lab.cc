#include "tests/fault/disk_lab.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace kdn::fault {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBallast = "ballast";

Status Cannot(const std::string& what) {
  return Status(Code::kUnimplemented, what + ": " + std::strerror(errno));
}

std::string NodeFolder(const std::string& folder, std::uint32_t node) {
  return folder + "/node" + std::to_string(node);
}

}  // namespace

Result<std::unique_ptr<FaultyDisks>> FaultyDisks::Make(const std::string& folder,
                                                       const std::string& program_folder) {
  std::unique_ptr<FaultyDisks> disks(new FaultyDisks());
  disks->folder_ = fs::absolute(folder).lexically_normal().string();
  disks->shim_ = program_folder + "/libkdn_disk_shim.so";
  if (!fs::exists(disks->shim_)) return Error(Code::kUnimplemented, "no " + disks->shim_);
  disks->file_ = disks->folder_ + ".disk-fault";
  const int fd = ::open(disks->file_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, 1) != 0) return std::unexpected(Cannot(disks->file_));
  void* const page = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (page == MAP_FAILED) return std::unexpected(Cannot(disks->file_));
  disks->byte_ = static_cast<char*>(page);
  disks->Set(DiskFault::kNone);
  return disks;
}

FaultyDisks::~FaultyDisks() {
  if (byte_ == nullptr) return;
  Set(DiskFault::kNone);
  ::munmap(const_cast<char*>(byte_), 1);
}

std::vector<admin::DaemonPlace> FaultyDisks::places(std::uint32_t nodes) const {
  std::vector<admin::DaemonPlace> places(1);  // the coordinator's disk is sound
  for (std::uint32_t node = 1; node <= nodes; ++node) {
    admin::DaemonPlace place;
    place.launcher = {"/usr/bin/env", "LD_PRELOAD=" + shim_, "KDN_DISK_FAULT=" + file_,
                      "KDN_DISK_FAULT_FOLDER=" + NodeFolder(folder_, node) + "/"};
    places.push_back(std::move(place));
  }
  return places;
}

Result<std::unique_ptr<SmallDisks>> SmallDisks::Make(const std::string& folder, std::uint32_t nodes,
                                                     std::uint64_t bytes) {
  if (::unshare(CLONE_NEWNS) != 0) return std::unexpected(Cannot("no mount namespace"));
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return std::unexpected(Cannot("mounts cannot be made private"));
  }
  std::unique_ptr<SmallDisks> disks(new SmallDisks());
  const std::string size = "size=" + std::to_string(bytes);
  for (std::uint32_t node = 1; node <= nodes; ++node) {
    const std::string at = NodeFolder(fs::absolute(folder).lexically_normal().string(), node);
    std::error_code error;
    fs::create_directories(at, error);
    if (error || ::mount("tmpfs", at.c_str(), "tmpfs", 0, size.c_str()) != 0) {
      return std::unexpected(Cannot("cannot mount " + at));
    }
    disks->folders_.push_back(at);
  }
  return disks;
}

SmallDisks::~SmallDisks() {
  for (const std::string& folder : folders_) ::umount2(folder.c_str(), MNT_DETACH);
}

Status SmallDisks::Fill() {
  static constexpr std::array<char, 4096> kPage{};
  for (const std::string& folder : folders_) {
    const std::string path = folder + "/" + kBallast;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return Cannot(path);
    struct statvfs space{};
    struct stat was{};
    if (::fstatvfs(fd, &space) != 0 || ::fstat(fd, &was) != 0) return Cannot(path);
    const auto free = static_cast<off_t>(space.f_bavail * space.f_frsize);
    if (free > 0) static_cast<void>(::posix_fallocate(fd, was.st_size, free));
    while (::write(fd, kPage.data(), kPage.size()) > 0) {
    }
    ::close(fd);
    if (errno != ENOSPC) return Cannot(path);
  }
  return {};
}

void SmallDisks::Empty() {
  for (const std::string& folder : folders_) {
    std::error_code error;
    fs::remove(folder + "/" + kBallast, error);
  }
}

}  // namespace kdn::fault
