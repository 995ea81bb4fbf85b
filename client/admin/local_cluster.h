// A whole cluster on one machine, for trying things out, tests and benchmarks: one coordinator and
// some nodes as processes of their own on loopback, with secrets drawn at random. All of it lives
// in one folder; a cluster that was started by one process can be stopped by another.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/admin/settings.h"

namespace kdn::admin {

// Where a daemon runs.
struct DaemonPlace {
  std::string host = "127.0.0.1";  // at which it listens; loopback only
  // A command that runs the one whose words follow its own, in its own place: "nsenter
  // --net=...". Empty: none.
  std::vector<std::string> launcher;
};

struct LocalClusterOptions {
  std::string folder;
  std::string program_folder;  // where kdn-coordinator and kdn-node are; empty: beside this program
  std::uint32_t nodes = 3;
  std::uint32_t dram_mib = 256;  // of each node
  std::uint32_t replicas = 2;
  std::string write_mode = "write_through";
  bool sync = false;                              // a trial cluster survives kills, not power cuts
  std::vector<std::string> coordinator_settings;  // more "section.key=value"
  std::vector<std::string> node_settings;
  std::chrono::milliseconds start_timeout{30'000};
  std::vector<DaemonPlace> places;  // of the coordinator, the first node, ...; else loopback
};

class LocalCluster {
 public:
  struct Daemon {
    std::string name;                    // "coordinator", "node1", ...
    std::string program;                 // "kdn-coordinator" or "kdn-node"
    pid_t pid = 0;                       // 0: not running
    std::vector<std::string> endpoints;  // as it said when it was ready
    std::vector<std::string> launcher;   // as its place said
  };

  // Writes folder and files, starts all daemons and waits until every node is registered.
  // kAlreadyExists if the folder has a running cluster.
  static Result<LocalCluster> Start(const LocalClusterOptions& options);
  // The cluster that a process before this one started. kNotFound if the folder has none.
  static Result<LocalCluster> Attach(const std::string& folder);

  // Ends all daemons: SIGTERM, and SIGKILL after the timeout. The folder stays.
  Status Stop(std::chrono::milliseconds timeout);

  // Sends a signal to one daemon; after SIGKILL and SIGTERM waits until it is gone.
  Status Signal(std::size_t daemon, int signal);
  // Starts a daemon that is gone again, at its old endpoints, and waits until it is ready.
  Status Restart(std::size_t daemon);
  // The two halves of Restart(). Between them the daemon may be told signals.
  Status Spawn(std::size_t daemon);
  // kUnavailable if it ended before it was ready.
  Status AwaitReady(std::size_t daemon);
  // Waits until the coordinator counts `nodes` as alive and has their inventories.
  Status WaitAlive(std::uint32_t nodes, std::chrono::milliseconds timeout) const;

  // The coordinator is number 0, nodes follow.
  [[nodiscard]] const std::vector<Daemon>& daemons() const { return daemons_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }
  // What a client or tool needs to reach it.
  [[nodiscard]] Result<Settings> settings() const;

 private:
  LocalCluster() = default;
  Status WriteClusterFiles(const LocalClusterOptions& options);
  Status WriteFiles(const LocalClusterOptions& options);
  [[nodiscard]] std::vector<std::string> ArgumentsOf(const Daemon& daemon) const;
  Status Save() const;
  [[nodiscard]] std::string PathOf(const std::string& file) const { return folder_ + "/" + file; }

  std::string folder_;
  std::string program_folder_;
  std::chrono::milliseconds start_timeout_{30'000};
  std::vector<Daemon> daemons_;
  std::size_t log_bytes_ = 0;  // of the daemon spawned last, before it wrote
};

}  // namespace kdn::admin
