#include "coordinator/service/restore.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>

#include "coordinator/core/hard_state.h"
#include "coordinator/metastore/metastore.h"
#include "proto/backup/backup.h"

namespace kdn::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatchBytes = 4U << 20;

Result<backup::Contents> ReadFile(const std::string& path, const backup::Visitor& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, path + ": cannot be read");
  const backup::Source source = [&](MutableBytes into) {
    file.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
    return static_cast<std::size_t>(file.gcount()) == into.size() ? Status()
                                                                  : Status(Code::kOutOfRange);
  };
  auto contents = backup::Read(source, visit);
  if (!contents) {
    return Error(contents.error().code(), path + ": " + contents.error().message());
  }
  if (file.peek() != std::ifstream::traits_type::eof()) {
    return Error(Code::kDataLoss, path + ": something follows the backup's end");
  }
  return contents;
}

// The epoch of the metastore that is there; zero if none is. Fails if a coordinator has it open, or
// it holds something and may not be replaced.
Result<Epoch> LookAtOld(const std::string& kind, const std::string& folder, bool replace) {
  std::error_code error;
  if (!fs::exists(folder, error) || fs::is_empty(folder, error)) return Epoch{};
  auto opened = OpenMetastore(kind, folder);
  if (!opened && (opened.error().code() == Code::kFailedPrecondition || !replace)) {
    return std::unexpected(opened.error());
  }
  if (!replace) {
    return Error(Code::kAlreadyExists,
                 folder + " holds hard state; --replace puts it aside and the backup in its place");
  }
  if (!opened) return Epoch{};  // damaged: why there are backups
  return StoredEpoch(**opened);
}

Status FillNew(const std::string& kind, const std::string& folder, const std::string& file,
               Epoch last_epoch) {
  auto opened = OpenMetastore(kind, folder);
  if (!opened) return opened.error();
  MetaBatch batch;
  std::size_t bytes = 0;
  const auto written = ReadFile(file, [&](std::string_view key, std::string_view value) {
    batch.Put(std::string(key), std::string(value));
    bytes += key.size() + value.size();
    if (bytes < kBatchBytes) return Status();
    bytes = 0;
    return (*opened)->Write(std::exchange(batch, {}));
  });
  if (!written) return written.error();
  SetEpoch(last_epoch, batch);
  return (*opened)->Write(batch);
}

Status SyncFolder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return synced ? Status() : Status(Code::kUnavailable, folder + ": " + std::strerror(errno));
}

// One step, so that no crash leaves the coordinator without hard state: it would begin a cluster of
// its own. What was there then lies under the new one's name, and is given `replaced`.
Status PutInPlace(const std::string& made, const std::string& place, const std::string& replaced) {
  std::error_code error;
  if (!fs::exists(place, error)) {
    fs::rename(made, place, error);
  } else if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0) {
    if (replaced.empty()) {
      fs::remove_all(made, error);
    } else {
      fs::rename(made, replaced, error);
    }
  } else {
    error.assign(errno, std::generic_category());
  }
  if (error) return Status(Code::kUnavailable, place + ": " + error.message());
  return Status();
}

}  // namespace

Result<Restored> RestoreBackup(const CoordinatorConfig& config, const std::string& file,
                               bool replace, Epoch epoch_min) {
  const std::string place = MetastoreFolder(config);
  // A name of its own: what a restore that was killed has left may be what it put aside.
  const std::string made = place + ".restoring-" + std::to_string(::getpid());
  KDN_ASSIGN_OR_RETURN(const backup::Contents contents, ReadFile(file, {}));
  KDN_ASSIGN_OR_RETURN(const Epoch old_epoch, LookAtOld(config.metastore, place, replace));
  const Epoch last = std::max({contents.header.epoch, old_epoch, epoch_min});
  if (last == static_cast<Epoch>(std::numeric_limits<std::uint32_t>::max())) {
    return Error(Code::kFailedPrecondition, "there is no epoch above all those used");
  }
  std::error_code error;
  fs::remove_all(made, error);
  fs::create_directories(config.data_dir, error);
  if (error) return Error(Code::kFailedPrecondition, config.data_dir + ": " + error.message());
  if (Status status = FillNew(config.metastore, made, file, last); !status.ok()) {
    fs::remove_all(made, error);
    return std::unexpected(status);
  }
  Restored restored{.cluster = contents.header.cluster,
                    .backup_epoch = contents.header.epoch,
                    .next_epoch = static_cast<Epoch>(static_cast<std::uint32_t>(last) + 1),
                    .records = contents.records,
                    .replaced = {}};
  if (fs::exists(place, error) && !fs::is_empty(place, error)) {
    restored.replaced =
        place + ".replaced-" + std::to_string(static_cast<std::uint32_t>(restored.next_epoch));
  }
  Status status = PutInPlace(made, place, restored.replaced);
  if (status.ok()) status = SyncFolder(config.data_dir);
  if (!status.ok()) return std::unexpected(status);
  return restored;
}

Epoch EpochOfNow() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<Epoch>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

}  // namespace kdn::coordinator
