// kdn-node: the storage daemon. Reads its configuration, runs a node until SIGTERM or SIGINT, stops
// cleanly.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/secret_file.h"
#include "base/spdlog_log.h"
#include "node/machine_memory.h"
#include "node/node.h"
#include "transport/status/status_server.h"

namespace {

using kdn::node::NodeConfig;

// How long a start may go on after a signal to stop.
constexpr std::chrono::milliseconds kStartupGrace{200};

struct Arguments {
  std::string config_file;
  std::vector<std::string> assignments;
  bool check_config = false;
};

kdn::Status CheckSecret(const std::string& path) {
  if (path.empty()) return {};
  if (const auto secret = kdn::ReadSecretFile(path); !secret) {
    return kdn::Status(kdn::Code::kInvalidArgument,
                       "node.cluster_secret_file: " + secret.error().message());
  }
  if (kdn::ReadableByOthers(path)) {
    std::fprintf(stderr,
                 "kdn-node: warning: node.cluster_secret_file: %s: not only its owner can read "
                 "it; expected mode 0600\n",
                 path.c_str());
  }
  return {};
}

// A configuration may be checked while the node that it is for runs, and has the memory.
kdn::Status CheckMemory(const NodeConfig& config, bool starts) {
  const auto memory = kdn::node::ReadMachineMemory();
  if (!memory) return {};
  KDN_RETURN_IF_ERROR(kdn::node::CheckDramSize(config, memory->total_bytes,
                                               "the memory of this machine or control group"));
  if (!starts) return {};
  return kdn::node::CheckDramSize(config, memory->available_bytes, "the memory that is free now");
}

kdn::Status ReadConfiguration(const Arguments& arguments, NodeConfig& config) {
  kdn::ConfigTable table = kdn::node::TableOf(config);
  kdn::ConfigTable* const tables[] = {&table};
  if (!arguments.config_file.empty()) {
    KDN_RETURN_IF_ERROR(kdn::ReadConfig(arguments.config_file, tables));
  }
  for (const std::string& assignment : arguments.assignments) {
    KDN_RETURN_IF_ERROR(kdn::SetConfig(assignment, tables));
  }
  KDN_RETURN_IF_ERROR(kdn::node::ValidateConfig(config));
  KDN_RETURN_IF_ERROR(CheckSecret(config.cluster_secret_file));
  return CheckMemory(config, !arguments.check_config);
}

int Fail(const kdn::Status& status) {
  std::fprintf(stderr, "kdn-node: %s\n", status.message().c_str());
  return status.code() == kdn::Code::kInvalidArgument ? 2 : 1;
}

// Scripts wait for this file, or for the same line on standard output.
void AnnounceReady(const NodeConfig& config, const kdn::node::Node& node,
                   const std::string& status_endpoint) {
  std::string line = "ready";
  for (const std::string& endpoint : node.endpoints()) line.append(" ").append(endpoint);
  if (!status_endpoint.empty()) line.append(" status=").append(status_endpoint);
  const std::string path = config.data_dir + "/node.ready";
  {
    std::ofstream file(path + ".new");
    file << line << '\n';
  }
  std::rename((path + ".new").c_str(), path.c_str());
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

using StatusServer = kdn::transport::status::StatusServer;

// Null if none is wanted.
kdn::Result<std::unique_ptr<StatusServer>> StartStatus(const NodeConfig& config,
                                                       const kdn::MetricRegistry& registry,
                                                       const kdn::node::Node& node) {
  if (config.status_listen.empty()) return nullptr;
  return StatusServer::Start(
      config.status_listen, registry, [&node] { return node.ready(); }, config.insecure);
}

kdn::Result<std::vector<std::byte>> ReadClusterSecret(const NodeConfig& config) {
  if (config.cluster_secret_file.empty()) return std::vector<std::byte>{};
  return kdn::ReadSecretFile(config.cluster_secret_file);
}

// Whether the start is over, well or not.
class Startup {
 public:
  void End() {
    const std::lock_guard lock(mutex_);
    over_ = true;
    ended_.notify_all();
  }
  bool WaitEnd(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, timeout, [this] { return over_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
};

// Until `stop`, which comes from a signal.
kdn::Status Serve(const NodeConfig& config, kdn::Log& log, Startup& startup,
                  const std::stop_token& stop) {
  const auto secret = ReadClusterSecret(config);
  if (!secret) return secret.error();
  std::remove((config.data_dir + "/node.ready").c_str());
  const kdn::SteadyClock clock;
  kdn::SystemRandom random;
  kdn::MetricRegistry registry;
  // Both may take a while: a second for some GiB.
  log.Write(kdn::LogLevel::kInfo, "opening the disk and touching the memory",
            {{"data_dir", config.data_dir}, {"dram_mib", std::to_string(config.dram_mib)}});
  const auto node = kdn::node::Node::Open(config,
                                          {.clock = clock,
                                           .random = random,
                                           .log = log,
                                           .registry = registry,
                                           .cluster_secret = *secret},
                                          stop);
  startup.End();
  if (!node) return node.error();
  const auto status = StartStatus(config, registry, **node);
  if (!status) return status.error();
  AnnounceReady(config, **node, *status == nullptr ? "" : (*status)->endpoint());

  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, stop, [] { return false; });
  log.Write(kdn::LogLevel::kInfo, "stopping", {});
  return {};
}

int RunNode(const NodeConfig& config, const sigset_t& stop_signals) {
  const auto log_level = kdn::FindLogLevel(config.log_level);
  if (!log_level) return Fail(log_level.error());
  kdn::SpdlogLog log("node", *log_level);
  std::stop_source stop;
  Startup startup;
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&stop_signals, &signal);
    stop.request_stop();
    // Memory that is being touched cannot be told to stop. Nothing has been acknowledged yet, and
    // what is on disk survives a kill.
    if (!startup.WaitEnd(kStartupGrace)) _exit(0);
  });
  const kdn::Status status = Serve(config, log, startup, stop.get_token());
  startup.End();
  if (!stop.stop_requested()) pthread_kill(waiter.native_handle(), SIGTERM);
  waiter.join();
  if (status.ok() || status.code() == kdn::Code::kCancelled) return 0;
  return Fail(status);
}

}  // namespace

int main(int argc, char** argv) {
  // Before any thread starts, so that all inherit it and only one waits for these.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  umask(0077);  // What the node keeps is nobody else's to read.

  Arguments arguments;
  CLI::App app("kdn-node: keeps objects in memory and on disk, and serves them", "kdn-node");
  app.add_option("--config", arguments.config_file, "TOML file with a [node] section");
  app.add_option("--set", arguments.assignments, "section.key=value, overrides the file")
      ->allow_extra_args(false);
  app.add_flag("--check-config", arguments.check_config, "check the configuration and exit");
  NodeConfig config;
  app.footer("[node] and its defaults:\n" + kdn::node::TableOf(config).Describe());
  app.set_version_flag("--version", KDN_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  if (kdn::Status status = ReadConfiguration(arguments, config); !status.ok()) return Fail(status);
  if (arguments.check_config) return 0;
  return RunNode(config, stop_signals);
}
