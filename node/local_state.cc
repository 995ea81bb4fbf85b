#include "node/local_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

namespace kdn::node {
namespace {

constexpr std::string_view kUuidName = "node_uuid";
constexpr std::string_view kClusterName = "cluster_id";
constexpr std::string_view kEpochName = "epoch_seen";

Status SystemError(const std::string& what) {
  return Status(Code::kUnavailable, what + ": " + std::generic_category().message(errno));
}

class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// A new file beside the old one, synced, then put in its place: after a crash there is the old
// value or the new one.
Status WriteFile(const std::string& folder, std::string_view name, ConstBytes value) {
  const std::string path = folder + "/" + std::string(name);
  const std::string fresh = path + ".new";
  {
    const File file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.fd() < 0) return SystemError(fresh);
    if (write(file.fd(), value.data(), value.size()) != static_cast<ssize_t>(value.size()) ||
        fsync(file.fd()) != 0) {
      return SystemError(fresh);
    }
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return SystemError(path);
  const File directory(folder, O_RDONLY | O_DIRECTORY);
  if (directory.fd() < 0 || fsync(directory.fd()) != 0) return SystemError(folder);
  return {};
}

Result<std::vector<std::byte>> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const ConstBytes bytes = AsBytes(text);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

}  // namespace

Result<std::vector<std::byte>> LocalState::Get(std::string_view name) {
  if (disk_ != nullptr) return disk_->GetValue(name);
  return ReadFile(folder_ + "/" + std::string(name));
}

Status LocalState::Put(std::string_view name, ConstBytes value) {
  if (disk_ != nullptr) return disk_->PutValue(name, value);
  return WriteFile(folder_, name, value);
}

Result<PeerId> LocalState::Uuid(Random& random) {
  const auto kept = Get(kUuidName);
  if (kept) {
    ByteReader in(*kept);
    const auto uuid = in.OpaqueId<PeerId>();
    if (!in.AtEnd()) return Error(Code::kDataLoss, "the kept node id is damaged");
    return uuid;
  }
  if (kept.error().code() != Code::kNotFound) return std::unexpected(kept.error());
  const auto uuid = RandomId<PeerId>(random);
  if (Status status = Put(kUuidName, uuid.bytes); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  return uuid;
}

Result<ClusterId> LocalState::Cluster() {
  const auto kept = Get(kClusterName);
  if (!kept) {
    if (kept.error().code() == Code::kNotFound) return ClusterId{};
    return std::unexpected(kept.error());
  }
  ByteReader in(*kept);
  const auto cluster = in.OpaqueId<ClusterId>();
  if (!in.AtEnd()) return Error(Code::kDataLoss, "the kept cluster id is damaged");
  return cluster;
}

Status LocalState::SetCluster(const ClusterId& cluster) {
  return Put(kClusterName, cluster.bytes);
}

Result<Epoch> LocalState::EpochSeen() {
  const auto kept = Get(kEpochName);
  if (!kept) {
    if (kept.error().code() == Code::kNotFound) return Epoch{};
    return std::unexpected(kept.error());
  }
  ByteReader in(*kept);
  const auto epoch = in.Integer<Epoch>();
  if (!in.AtEnd()) return Error(Code::kDataLoss, "the kept epoch is damaged");
  return epoch;
}

Status LocalState::RaiseEpoch(Epoch epoch) {
  const std::lock_guard lock(mutex_);
  const Result<Epoch> seen = EpochSeen();
  if (!seen) return seen.error();
  if (epoch <= *seen) return {};
  std::vector<std::byte> bytes;
  ByteWriter(bytes).Integer(epoch);
  return Put(kEpochName, bytes);
}

}  // namespace kdn::node
