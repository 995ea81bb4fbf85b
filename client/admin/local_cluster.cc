#include "client/admin/local_cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/random.h"
#include "base/secret_file.h"
#include "client/admin/coordinator_rpc.h"
#include "client/admin/process.h"

namespace kdn::admin {
namespace {

namespace fs = std::filesystem;

Status Failed(const std::string& what) {
  return Status(Code::kInternal, what);
}

Status WriteFile(const std::string& path, const std::string& text, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return Failed("cannot write " + path);
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return written ? Status() : Failed("cannot write " + path);
}

std::string NewSecret(Random& random) {
  std::vector<std::byte> secret(32);
  random.Fill(secret);
  return SecretText(secret);
}

std::string Quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string OwnProgramFolder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path().string();
}

DaemonPlace PlaceOf(const LocalClusterOptions& options, std::size_t daemon) {
  return daemon < options.places.size() ? options.places[daemon] : DaemonPlace();
}

// A wait between two questions that nothing can announce.
void Pause(int ms) {
  poll(nullptr, 0, ms);
}

}  // namespace

Status LocalCluster::WriteClusterFiles(const LocalClusterOptions& options) {
  SystemRandom random;
  const std::string access = NewSecret(random);
  KDN_RETURN_IF_ERROR(WriteFile(PathOf("cluster.secret"), NewSecret(random) + "\n", 0600));
  KDN_RETURN_IF_ERROR(WriteFile(PathOf("access.secret"), access + "\n", 0600));
  KDN_RETURN_IF_ERROR(WriteFile(PathOf("chunk.secret"), NewSecret(random) + "\n", 0600));
  KDN_RETURN_IF_ERROR(WriteFile(
      PathOf("tenants.toml"),
      "[[tenant]]\nname = \"local\"\nid = 1\naccess_secret = " + Quoted(access) + "\n", 0600));

  const std::string listen = Quoted(PlaceOf(options, 0).host + ":0");
  std::ostringstream coordinator;
  coordinator << "[coordinator]\ndata_dir = " << Quoted(PathOf("coordinator"))
              << "\nlisten = " << listen << "\ngrpc_listen = " << listen << "\nstatus_listen = \"\""
              << "\ncluster_secret_file = " << Quoted(PathOf("cluster.secret"))
              << "\ntenants_file = " << Quoted(PathOf("tenants.toml"))
              << "\nreplicas = " << options.replicas << "\n";
  return WriteFile(PathOf("coordinator.toml"), coordinator.str(), 0644);
}

Status LocalCluster::WriteFiles(const LocalClusterOptions& options) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return Failed("cannot make the folder " + folder_ + ": " + error.message());
  // A cluster that was stopped goes on with the files it has; only what is missing is written.
  if (!fs::exists(PathOf("coordinator.toml"))) KDN_RETURN_IF_ERROR(WriteClusterFiles(options));
  for (std::uint32_t n = 1; n <= options.nodes; ++n) {
    const std::string name = "node" + std::to_string(n);
    if (fs::exists(PathOf(name + ".toml"))) continue;
    std::ostringstream node;
    node << "[node]\ndata_dir = " << Quoted(PathOf(name))
         << "\nlisten = " << Quoted(PlaceOf(options, n).host + ":0")
         << "\nstatus_listen = \"\"\ncluster_secret_file = " << Quoted(PathOf("cluster.secret"))
         << "\ndram_mib = " << options.dram_mib << "\nwrite_mode = " << Quoted(options.write_mode)
         << "\nsync = " << (options.sync ? "true" : "false") << "\n";
    KDN_RETURN_IF_ERROR(WriteFile(PathOf(name + ".toml"), node.str(), 0644));
  }
  nlohmann::json extra = {{"coordinator", options.coordinator_settings},
                          {"node", options.node_settings}};
  return WriteFile(PathOf("settings.json"), extra.dump(2) + "\n", 0644);
}

std::vector<std::string> LocalCluster::ArgumentsOf(const Daemon& daemon) const {
  const bool is_node = daemon.program == "kdn-node";
  std::vector<std::string> argv = daemon.launcher;
  argv.insert(argv.end(),
              {program_folder_ + "/" + daemon.program, "--config", PathOf(daemon.name + ".toml")});
  std::ifstream extra_file(PathOf("settings.json"));
  const nlohmann::json extra = nlohmann::json::parse(extra_file, nullptr, false);
  const char* section = is_node ? "node" : "coordinator";
  if (extra.is_object() && extra.contains(section)) {
    for (const auto& setting : extra[section]) {
      argv.push_back("--set");
      argv.push_back(setting.get<std::string>());
    }
  }
  // At its old endpoints, if it had any: clients and nodes know them.
  if (!daemon.endpoints.empty()) {
    argv.push_back("--set");
    argv.push_back(std::string(section) + ".listen=" + daemon.endpoints[0]);
    if (!is_node) {
      argv.push_back("--set");
      argv.push_back("coordinator.grpc_listen=" + daemon.endpoints[1]);
    }
  }
  if (is_node) {
    argv.push_back("--set");
    argv.push_back("node.coordinator=" + daemons_[0].endpoints[1]);
  }
  return argv;
}

Status LocalCluster::Spawn(std::size_t index) {
  Daemon& daemon = daemons_[index];
  const std::string log = PathOf(daemon.name + ".log");
  std::error_code error;
  log_bytes_ = fs::exists(log) ? fs::file_size(log, error) : 0;
  if (log_bytes_ == 0) KDN_RETURN_IF_ERROR(WriteFile(log, "", 0644));
  auto pid = StartProcess(ArgumentsOf(daemon), log);
  if (!pid) return std::move(pid).error();
  daemon.pid = *pid;
  return {};
}

Status LocalCluster::AwaitReady(std::size_t index) {
  Daemon& daemon = daemons_[index];
  const std::string log = PathOf(daemon.name + ".log");
  const auto ready =
      WaitReadyLine(daemon.pid, log, log_bytes_, std::chrono::steady_clock::now() + start_timeout_);
  if (!ready) {
    return Status(ready.error().code(),
                  daemon.name + " " + ready.error().message() + " (its log is " + log + ")");
  }
  daemon.endpoints.assign(ready->begin() + 1, ready->end());
  const std::size_t needed = daemon.program == "kdn-node" ? 1 : 2;
  if (daemon.endpoints.size() < needed) return Failed(daemon.name + " named too few endpoints");
  return {};
}

Result<LocalCluster> LocalCluster::Start(const LocalClusterOptions& options) {
  if (auto running = Attach(options.folder)) {
    for (const Daemon& daemon : running->daemons()) {
      if (ProcessRuns(daemon.pid, daemon.program)) {
        return Error(Code::kAlreadyExists, "a cluster is running in " + options.folder +
                                               ". End it with `kdnctl cluster "
                                               "down`, or choose another folder");
      }
    }
  }
  LocalCluster cluster;
  cluster.folder_ = fs::absolute(options.folder).lexically_normal().string();
  cluster.program_folder_ =
      options.program_folder.empty() ? OwnProgramFolder() : options.program_folder;
  cluster.start_timeout_ = options.start_timeout;
  if (Status status = cluster.WriteFiles(options); !status.ok()) return std::unexpected(status);
  cluster.daemons_.push_back(
      {"coordinator", "kdn-coordinator", 0, {}, PlaceOf(options, 0).launcher});
  for (std::uint32_t n = 1; n <= options.nodes; ++n) {
    cluster.daemons_.push_back(
        {"node" + std::to_string(n), "kdn-node", 0, {}, PlaceOf(options, n).launcher});
  }
  Status status;
  for (std::size_t d = 0; d < cluster.daemons_.size() && status.ok(); ++d) {
    status = cluster.Spawn(d);
    if (status.ok()) status = cluster.AwaitReady(d);
  }
  if (status.ok()) status = cluster.Save();
  if (status.ok()) status = cluster.WaitAlive(options.nodes, options.start_timeout);
  if (!status.ok()) {
    [[maybe_unused]] const Status stopped = cluster.Stop(std::chrono::seconds(2));
    return std::unexpected(status);
  }
  return cluster;
}

Status LocalCluster::Save() const {
  nlohmann::json json = {{"program_folder", program_folder_}, {"daemons", nlohmann::json::array()}};
  for (const Daemon& daemon : daemons_) {
    json["daemons"].push_back({{"name", daemon.name},
                               {"program", daemon.program},
                               {"pid", daemon.pid},
                               {"endpoints", daemon.endpoints},
                               {"launcher", daemon.launcher}});
  }
  KDN_RETURN_IF_ERROR(WriteFile(PathOf("cluster.json"), json.dump(2) + "\n", 0644));
  std::ostringstream admin;
  admin << "[admin]\ngrpc = " << Quoted(daemons_[0].endpoints[1])
        << "\ncoordinator = " << Quoted(daemons_[0].endpoints[0])
        << "\ncluster_secret_file = " << Quoted(PathOf("cluster.secret"))
        << "\ntenant_id = 1\naccess_secret_file = " << Quoted(PathOf("access.secret"))
        << "\nchunk_secret_file = " << Quoted(PathOf("chunk.secret")) << "\n";
  return WriteFile(PathOf("kdnctl.toml"), admin.str(), 0644);
}

Result<LocalCluster> LocalCluster::Attach(const std::string& folder) {
  LocalCluster cluster;
  cluster.folder_ = fs::absolute(folder).lexically_normal().string();
  std::ifstream file(cluster.PathOf("cluster.json"));
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object()) {
    return Error(Code::kNotFound,
                 "no cluster in " + folder + ". Start one with `kdnctl cluster up`");
  }
  cluster.program_folder_ = json.value("program_folder", "");
  for (const auto& daemon : json.value("daemons", nlohmann::json::array())) {
    cluster.daemons_.push_back({daemon.value("name", ""), daemon.value("program", ""),
                                daemon.value("pid", 0),
                                daemon.value("endpoints", std::vector<std::string>{}),
                                daemon.value("launcher", std::vector<std::string>{})});
  }
  if (cluster.daemons_.empty()) return Error(Code::kDataLoss, "cluster.json names no daemons");
  return cluster;
}

Result<Settings> LocalCluster::settings() const {
  return ReadSettings(PathOf("kdnctl.toml"));
}

Status LocalCluster::WaitAlive(std::uint32_t nodes, std::chrono::milliseconds timeout) const {
  const TimePoint deadline = std::chrono::steady_clock::now() + timeout;
  const auto secret = ReadSecretFile(PathOf("cluster.secret"));
  if (!secret) return secret.error();
  const CoordinatorRpc rpc(daemons_[0].endpoints[1], *secret, std::chrono::milliseconds(1000));
  for (;;) {
    const auto status = rpc.GetStatus();
    if (status && status->nodes_alive() == nodes && status->inventories_complete()) return {};
    if (std::chrono::steady_clock::now() >= deadline) {
      return Status(Code::kDeadlineExceeded,
                    "the coordinator does not count " + std::to_string(nodes) + " nodes as alive");
    }
    Pause(20);
  }
}

Status LocalCluster::Signal(std::size_t index, int signal) {
  Daemon& daemon = daemons_[index];
  if (daemon.pid == 0 || kill(daemon.pid, signal) != 0) {
    return Status(Code::kNotFound, daemon.name + " is not running");
  }
  if (signal != SIGKILL && signal != SIGTERM) return {};
  const bool gone =
      WaitGone(daemon.pid, std::chrono::steady_clock::now() + std::chrono::seconds(30));
  if (!gone) return Failed(daemon.name + " does not end");
  daemon.pid = 0;
  return {};
}

Status LocalCluster::Restart(std::size_t index) {
  KDN_RETURN_IF_ERROR(Spawn(index));
  KDN_RETURN_IF_ERROR(AwaitReady(index));
  return Save();
}

Status LocalCluster::Stop(std::chrono::milliseconds timeout) {
  // Nodes first: they hand over their last inventory to a coordinator that is still there.
  Status status;
  for (const bool nodes : {true, false}) {
    for (Daemon& daemon : daemons_) {
      if ((daemon.program == "kdn-node") != nodes || !ProcessRuns(daemon.pid, daemon.program)) {
        continue;
      }
      kill(daemon.pid, SIGTERM);
      kill(daemon.pid, SIGCONT);
    }
    const TimePoint deadline = std::chrono::steady_clock::now() + timeout;
    for (Daemon& daemon : daemons_) {
      if ((daemon.program == "kdn-node") != nodes || daemon.pid == 0) continue;
      if (ProcessRuns(daemon.pid, daemon.program) && !WaitGone(daemon.pid, deadline)) {
        kill(daemon.pid, SIGKILL);
        status = Status(Code::kDeadlineExceeded, daemon.name + " had to be killed");
        [[maybe_unused]] const bool gone =
            WaitGone(daemon.pid, std::chrono::steady_clock::now() + std::chrono::seconds(5));
      }
      daemon.pid = 0;
    }
  }
  if (!daemons_[0].endpoints.empty()) {
    if (Status saved = Save(); status.ok()) status = saved;
  }
  return status;
}

}  // namespace kdn::admin
