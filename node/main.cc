// kdn-node: the storage daemon. Reads its configuration, runs a node until SIGTERM or SIGINT, stops
// cleanly.
#include <signal.h>

#include <CLI/CLI.hpp>
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
#include "node/node.h"
#include "transport/status/status_server.h"

namespace {

using kdn::node::NodeConfig;

struct Arguments {
  std::string config_file;
  std::vector<std::string> assignments;
  bool check_config = false;
};

kdn::Status ReadConfiguration(const Arguments& arguments, NodeConfig& config) {
  kdn::ConfigTable table = kdn::node::TableOf(config);
  kdn::ConfigTable* const tables[] = {&table};
  if (!arguments.config_file.empty()) {
    KDN_RETURN_IF_ERROR(kdn::ReadConfig(arguments.config_file, tables));
  }
  for (const std::string& assignment : arguments.assignments) {
    KDN_RETURN_IF_ERROR(kdn::SetConfig(assignment, tables));
  }
  return kdn::node::ValidateConfig(config);
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

// Until `stop`, which comes from a signal.
kdn::Status Serve(const NodeConfig& config, kdn::Log& log, const std::stop_token& stop) {
  const auto secret = ReadClusterSecret(config);
  if (!secret) return secret.error();
  std::remove((config.data_dir + "/node.ready").c_str());
  const kdn::SteadyClock clock;
  kdn::SystemRandom random;
  kdn::MetricRegistry registry;
  const auto node = kdn::node::Node::Open(config,
                                          {.clock = clock,
                                           .random = random,
                                           .log = log,
                                           .registry = registry,
                                           .cluster_secret = *secret},
                                          stop);
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
  std::thread waiter([&stop, &stop_signals] {
    int signal = 0;
    sigwait(&stop_signals, &signal);
    stop.request_stop();
  });
  const kdn::Status status = Serve(config, log, stop.get_token());
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

  Arguments arguments;
  CLI::App app("kdn-node: keeps objects in memory and on disk, and serves them", "kdn-node");
  app.add_option("--config", arguments.config_file, "TOML file with a [node] section");
  app.add_option("--set", arguments.assignments, "section.key=value, overrides the file")
      ->allow_extra_args(false);
  app.add_flag("--check-config", arguments.check_config, "check the configuration and exit");
  NodeConfig config;
  app.footer("[node] and its defaults:\n" + kdn::node::TableOf(config).Describe());
  CLI11_PARSE(app, argc, argv);

  if (kdn::Status status = ReadConfiguration(arguments, config); !status.ok()) return Fail(status);
  if (arguments.check_config) return 0;
  return RunNode(config, stop_signals);
}
