// `kdnctl backup` and `kdnctl restore`: the coordinator's hard state into a file, and out of one.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"
#include "proto/backup/backup.h"

namespace kdn::admin {
namespace {

namespace fs = std::filesystem;

Status Failed(const std::string& path) {
  return Status(Code::kUnavailable, path + ": " + std::strerror(errno));
}

// A file that is closed, and removed unless it was kept: half a backup is none.
class NewFile {
 public:
  // What an earlier attempt left goes first: it may have been anybody's to read.
  explicit NewFile(std::string path) : path_(std::move(path)) {
    ::unlink(path_.c_str());
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  }
  ~NewFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] bool opened() const { return fd_ >= 0; }
  Status Append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return Failed(path_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
  }
  // On stable storage, under this name.
  Status Keep(const std::string& name) {
    if (::fsync(fd_) != 0 || ::rename(path_.c_str(), name.c_str()) != 0) return Failed(name);
    kept_ = true;
    const fs::path folder = fs::absolute(name).parent_path();
    const int at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = at >= 0 && ::fsync(at) == 0;
    const Status status = synced ? Status() : Failed(folder.string());
    if (at >= 0) ::close(at);
    return status;
  }

 private:
  const std::string path_;
  int fd_ = -1;
  bool kept_ = false;
};

Result<backup::Contents> Check(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return backup::Read(
      [&](MutableBytes into) {
        file.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
        return static_cast<std::size_t>(file.gcount()) == into.size() ? Status()
                                                                      : Status(Code::kOutOfRange);
      },
      {});
}

// What was written is read again before it gets its name.
Result<backup::Contents> Write(const CoordinatorRpc& rpc, const std::string& path) {
  const std::string part = path + ".part";
  NewFile file(part);
  if (!file.opened()) return std::unexpected(Failed(part));
  Status status = rpc.Backup([&](std::string_view bytes) { return file.Append(bytes); });
  if (!status.ok()) return std::unexpected(status);
  KDN_ASSIGN_OR_RETURN(const backup::Contents contents, Check(part));
  if (status = file.Keep(path); !status.ok()) return std::unexpected(status);
  return contents;
}

int RunBackup(const VerbContext& context, const std::string& path, bool overwrite) {
  if (!overwrite && fs::exists(path)) {
    return PrintError(Status(Code::kInvalidArgument, path + " exists; --overwrite replaces it"));
  }
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  const auto contents = Write(*rpc, path);
  if (!contents) return PrintError(contents.error());
  const std::uint64_t bytes = fs::file_size(path);
  const auto epoch = static_cast<std::uint32_t>(contents->header.epoch);
  if (context.json()) {
    PrintJson({{"cluster", ToHex(contents->header.cluster)},
               {"epoch", epoch},
               {"records", contents->records},
               {"bytes", bytes}});
  } else {
    PrintTable({"cluster", "epoch", "records", "size"},
               {{ToHex(contents->header.cluster), std::to_string(epoch),
                 std::to_string(contents->records), BytesText(bytes)}});
  }
  return 0;
}

struct RestoreOptions {
  std::string path;
  std::string coordinator_config;
  bool replace = false;
  std::uint32_t epoch_min = 0;
};

// The coordinator's own program does it: it alone knows its metastore.
int RunRestore(const VerbContext& context, const RestoreOptions& options) {
  const std::string config = options.coordinator_config.empty()
                                 ? context.cluster_folder + "/coordinator.toml"
                                 : options.coordinator_config;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / "kdn-coordinator").string();
  std::vector<std::string> arguments = {program, "--config", config, "--restore", options.path};
  if (options.replace) arguments.emplace_back("--replace");
  if (options.epoch_min > 0) {
    arguments.emplace_back("--epoch-min");
    arguments.push_back(std::to_string(options.epoch_min));
  }
  if (context.json()) arguments.emplace_back("--json");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int failed =
          ::posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv.data(), environ);
      failed != 0) {
    return PrintError(Status(Code::kNotFound, program + ": " + std::strerror(failed)));
  }
  int state = 0;
  while (::waitpid(pid, &state, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(state) ? WEXITSTATUS(state) : 1;
}

}  // namespace

void AddBackupVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "backup",
      "Writes what the coordinator keeps on its disk (contexts, tenants and their access secrets, "
      "node ids) into a file that only its owner can read, as of one moment, while it runs. What "
      "nodes hold is not in it");
  auto path = std::make_shared<std::string>();
  auto overwrite = std::make_shared<bool>(false);
  verb->add_option("FILE", *path, "to be written")->required();
  verb->add_flag("--overwrite", *overwrite, "replace the file if there is one");
  verb->callback(
      [&context, path, overwrite] { context.exit_code = RunBackup(context, *path, *overwrite); });
}

void AddRestoreVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "restore",
      "Puts a backup where a coordinator that does not run keeps its hard state, on this machine. "
      "Nodes and clients find the coordinator back once it is started");
  auto options = std::make_shared<RestoreOptions>();
  verb->add_option("FILE", options->path, "that `kdnctl backup` wrote")->required();
  verb->add_option("--coordinator-config", options->coordinator_config,
                   "the coordinator's TOML file; else coordinator.toml in the folder of --cluster");
  verb->add_flag("--replace", options->replace,
                 "put aside the hard state that is there, if there is any");
  verb->add_option("--epoch-min", options->epoch_min,
                   "begin above this epoch; else above the number of seconds since 1970");
  verb->callback([&context, options] { context.exit_code = RunRestore(context, *options); });
}

}  // namespace kdn::admin
