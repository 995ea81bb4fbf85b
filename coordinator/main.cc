// kdn-coordinator: who holds what, who may store where. Prints `ready <endpoint> <grpc endpoint>`
// on standard output once it serves; ends on SIGTERM or SIGINT.
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/config.h"
#include "base/random.h"
#include "base/spdlog_log.h"
#include "coordinator/config.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/tenants.h"

namespace kdn::coordinator {
namespace {

struct Arguments {
  std::string config_path;
  std::vector<std::string> settings;
  bool check_config = false;
};

Status ReadAll(const Arguments& arguments, CoordinatorConfig& config) {
  ConfigTable table = TableOf(config);
  ConfigTable* const tables[] = {&table};
  if (!arguments.config_path.empty()) {
    KDN_RETURN_IF_ERROR(ReadConfig(arguments.config_path, tables));
  }
  for (const std::string& setting : arguments.settings) {
    KDN_RETURN_IF_ERROR(SetConfig(setting, tables));
  }
  KDN_RETURN_IF_ERROR(ValidateConfig(config));
  if (!config.tenants_file.empty()) {
    if (const auto tenants = ReadTenants(config.tenants_file); !tenants) return tenants.error();
  }
  return Status();
}

int Fail(const Status& status) {
  std::fprintf(stderr, "kdn-coordinator: %s\n", status.ToString().c_str());
  return status.code() == Code::kInvalidArgument ? 2 : 1;
}

// Blocks the signals that end the daemon in all threads; waited for below.
sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Serve(const CoordinatorConfig& config) {
  const sigset_t end_signals = BlockEndSignals();
  const auto level = FindLogLevel(config.log_level);
  if (!level) return Fail(level.error());
  SpdlogLog log("coordinator", *level);
  const SteadyClock clock;
  SystemRandom random;
  auto coordinator = Coordinator::Start(config, clock, random, log);
  if (!coordinator) return Fail(coordinator.error());
  std::printf("ready %s %s\n", (*coordinator)->endpoint().c_str(),
              (*coordinator)->grpc_endpoint().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&end_signals, &signal);
  log.Write(LogLevel::kInfo, "coordinator stops", {{"signal", std::to_string(signal)}});
  return 0;
}

}  // namespace
}  // namespace kdn::coordinator

int main(int argc, char** argv) {
  kdn::coordinator::Arguments arguments;
  kdn::coordinator::CoordinatorConfig config;
  CLI::App app("Coordinator of a KDN cluster: directory, membership, placement, named contexts.",
               "kdn-coordinator");
  app.add_option("--config", arguments.config_path, "TOML file with a [coordinator] section");
  app.add_option("--set", arguments.settings, "section.key=value, over the file; may be repeated");
  app.add_flag("--check-config", arguments.check_config, "read the configuration and stop");
  app.footer("Keys of [coordinator]:\n" + kdn::coordinator::TableOf(config).Describe());
  CLI11_PARSE(app, argc, argv);
  const kdn::Status status = kdn::coordinator::ReadAll(arguments, config);
  if (!status.ok()) return kdn::coordinator::Fail(status);
  return arguments.check_config ? 0 : kdn::coordinator::Serve(config);
}
